"""The built library by way of ctypes: logits of all positions, embeddings, tokens and texts, for
scripts that compare them."""

import ctypes
import os

import numpy as np

LOGITS = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32,
                          ctypes.POINTER(ctypes.c_float), ctypes.c_uint32)
FREED = ("session", "engine", "model", "options", "error")
# Of radllm_status, and the flags of the calls on tokens.
UNSUPPORTED, LIMIT = 5, 6
ADD_SPECIAL, PARSE_SPECIAL = 1, 2
SHOW_SPECIAL = 1


class Failure(Exception):
    """A status that is not RADLLM_OK, with the library's message."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class Library:
    def __init__(self, build):
        self.c = ctypes.CDLL(os.path.join(build, "lib", "libradllm.so"))
        self.c.radllm_error_message.restype = ctypes.c_char_p

    class Model:
        """A model; closes it, and what was made of it, at the end of a `with`."""

        def __init__(self, library, path, options):
            self.c = library.c
            self.handles = {name: ctypes.c_void_p() for name in FREED}
            self.made("error", self.c.radllm_error_new)
            self.made("options", self.c.radllm_options_new, None)
            for key, value in options.items():
                text = str(value).encode()
                self.check(self.c.radllm_options_set_text(
                    self.options, key.encode(), text, ctypes.c_size_t(len(text)), self.error))
            try:
                self.made("model", self.c.radllm_model_open, None, os.fsencode(path),
                          self.options, None)
            except Failure:
                self.__exit__()
                raise

        def __getattr__(self, name):
            return self.handles[name]

        def made(self, name, call, *arguments):
            handle = ctypes.byref(self.handles[name])
            end = () if name == "error" else (self.error,)
            self.check(call(*arguments, handle, *end))

        def check(self, status):
            if status != 0:
                raise Failure(self.c.radllm_error_message(self.error).decode(), status)

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

    class Opened(Model):
        """A model with an engine."""

        def __init__(self, library, path, options):
            super().__init__(library, path, options)
            self.made("engine", self.c.radllm_engine_new, None, self.model, self.options)

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

    class Vocabulary(Model):
        """The tokenizer of a file; results have room for as many tokens and bytes."""
        TOKENS, BYTES = 1 << 18, 1 << 20

        def __init__(self, library, path):
            super().__init__(library, path, {"vocab_only": "true"})
            self.tokens = (ctypes.c_int32 * self.TOKENS)()
            self.text = ctypes.create_string_buffer(self.BYTES)

        def encode(self, data, flags):
            count = ctypes.c_size_t()
            self.check(self.c.radllm_tokenize(
                self.model, data, ctypes.c_size_t(len(data)), ctypes.c_uint32(flags), self.tokens,
                ctypes.c_size_t(self.TOKENS), ctypes.byref(count), self.error))
            return self.tokens[:count.value]

        def written(self, call, *arguments):
            """The bytes that a call writes which takes a buffer behind its arguments."""
            length = ctypes.c_size_t()
            self.check(call(*arguments, self.text, ctypes.c_size_t(self.BYTES),
                            ctypes.byref(length), self.error))
            return ctypes.string_at(self.text, length.value)

        def decode(self, ids, flags):
            array = (ctypes.c_int32 * len(ids))(*ids)
            return self.written(self.c.radllm_detokenize, self.model, array,
                                ctypes.c_size_t(len(ids)), ctypes.c_uint32(flags))

        def stream(self, ids, flags):
            """The pieces of text that token by token gives."""
            stream = ctypes.c_void_p()
            self.check(self.c.radllm_detokenizer_new(self.model, ctypes.c_uint32(flags),
                                                     ctypes.byref(stream), self.error))
            try:
                pieces = [self.written(self.c.radllm_detokenizer_push, stream, ctypes.c_int32(one))
                          for one in ids]
                return pieces + [self.written(self.c.radllm_detokenizer_finish, stream)]
            finally:
                self.c.radllm_detokenizer_free(stream)

    def open(self, path, **options):
        return self.Opened(self, path, {"threads": 1, "cache": "f32", **options})

    def vocabulary(self, path):
        return self.Vocabulary(self, path)
