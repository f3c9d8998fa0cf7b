"""The built library by way of ctypes: logits of all positions, and embeddings, for scripts that
compare them."""

import ctypes
import os

import numpy as np

LOGITS = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32,
                          ctypes.POINTER(ctypes.c_float), ctypes.c_uint32)
FREED = ("session", "engine", "model", "options", "error")


class Failure(Exception):
    pass


class Library:
    def __init__(self, build):
        self.c = ctypes.CDLL(os.path.join(build, "lib", "libradllm.so"))
        self.c.radllm_error_message.restype = ctypes.c_char_p

    class Opened:
        """A model with an engine; closes them at the end of a `with`."""

        def __init__(self, library, path, options):
            self.c = library.c
            self.handles = {name: ctypes.c_void_p() for name in FREED}
            self.made("error", self.c.radllm_error_new)
            self.made("options", self.c.radllm_options_new, None)
            for key, value in options.items():
                text = str(value).encode()
                self.check(self.c.radllm_options_set_text(
                    self.options, key.encode(), text, ctypes.c_size_t(len(text)), self.error))
            self.made("model", self.c.radllm_model_open, None, os.fsencode(path), self.options,
                      None)
            self.made("engine", self.c.radllm_engine_new, None, self.model, self.options)

        def __getattr__(self, name):
            return self.handles[name]

        def made(self, name, call, *arguments):
            handle = ctypes.byref(self.handles[name])
            end = () if name == "error" else (self.error,)
            self.check(call(*arguments, handle, *end))

        def check(self, status):
            if status != 0:
                raise Failure(self.c.radllm_error_message(self.error).decode())

        def __enter__(self):
            return self

        def __exit__(self, *_):
            for name in FREED:
                if self.handles[name]:
                    getattr(self.c, f"radllm_{name}_free")(self.handles[name])

        def number(self, name):
            value = ctypes.c_int64()
            self.check(self.c.radllm_model_number(self.model, name.encode(), ctypes.byref(value),
                                                  self.error))
            return value.value

        def logits(self, ids):
            rows = []

            @LOGITS
            def collect(_user, _position, values, count):
                rows.append(np.ctypeslib.as_array(values, (count,)).copy())
                return 0

            self.made("session", self.c.radllm_session_new, self.engine)
            array = (ctypes.c_int32 * len(ids))(*ids)
            self.check(self.c.radllm_session_feed_each(
                self.session, array, ctypes.c_size_t(len(ids)), collect, None, None, self.error))
            self.c.radllm_session_free(self.session)
            self.handles["session"] = ctypes.c_void_p()
            return np.stack(rows)

        def embeddings(self, lists):
            width = self.number("embedding_length")
            arrays = [(ctypes.c_int32 * len(ids))(*ids) for ids in lists]
            pointers = (ctypes.c_void_p * len(lists))(*[ctypes.addressof(a) for a in arrays])
            counts = (ctypes.c_size_t * len(lists))(*map(len, lists))
            out = np.zeros((len(lists), width), "<f4")
            self.check(self.c.radllm_embed_tokens(
                self.engine, pointers, counts, ctypes.c_size_t(len(lists)), self.options, None,
                out.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), ctypes.c_size_t(out.size), None,
                self.error))
            return out

    def open(self, path, **options):
        return self.Opened(self, path, {"threads": 1, "cache": "f32", **options})
