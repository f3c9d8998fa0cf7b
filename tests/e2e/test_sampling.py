"""Sampling through the public header: on random logits and settings the library must choose the
token that a second implementation chooses, written here from the definitions (Philox: Salmon et al.
2011; typical: Meister et al. 2022; top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2024). The
logits are set by biases on a tiny model, so that nothing but the public functions is used."""
import ctypes
import math
import random
import struct

from e2e import *

MODEL = SOURCE / "tests" / "golden" / "architectures" / "llama-mha-f32.gguf"
LIBRARY = EXAMPLES.parent / "lib" / "libradllm.so.0"
CASES = 600
if sanitized():
    tap.skip("sampling", "a sanitized library cannot be loaded by Python")
    finish()

radllm = ctypes.CDLL(str(LIBRARY))
radllm.radllm_error_message.restype = ctypes.c_char_p
NUL = ctypes.c_size_t(-1)
pointer = ctypes.c_void_p
error = pointer()
assert radllm.radllm_error_new(ctypes.byref(error)) == 0


def message():
    return radllm.radllm_error_message(error).decode("utf-8", "replace")


def call(name, *arguments):
    status = getattr(radllm, name)(*arguments, error)
    if status != 0:
        raise RuntimeError(f"{name}: {message()}")


class Options:
    def __init__(self, **settings):
        self.handle = pointer()
        call("radllm_options_new", None, ctypes.byref(self.handle))
        for key, value in settings.items():
            for text in value if isinstance(value, list) else [value]:
                self.set(key, text)

    def set(self, key, value):
        text = value.encode() if isinstance(value, str) else repr(value).encode()
        call("radllm_options_set_text", self.handle, key.encode(), text, NUL)

    def __enter__(self):
        return self.handle

    def __exit__(self, *_):
        radllm.radllm_options_free(self.handle)


model, engine, session = pointer(), pointer(), pointer()
with Options(threads=1, context=128) as options:
    call("radllm_model_open", None, str(MODEL).encode(), options, None, ctypes.byref(model))
    call("radllm_engine_new", None, model, options, ctypes.byref(engine))
call("radllm_session_new", engine, ctypes.byref(session))
vocabulary = ctypes.c_int64()
call("radllm_model_number", model, b"vocab_size", ctypes.byref(vocabulary))
N = vocabulary.value

# ---- the second implementation ----


def f32(value):
    """Rounded to single precision, in which bias and penalties are defined."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def philox_unit(seed, choice, position):
    mask = 0xFFFFFFFF
    c = [position & mask, position >> 32, choice, 0]
    k = [seed & mask, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return ((c[0] << 32 | c[1]) >> 11) / 2.0 ** 53


def softmax(logits):
    most = max(logits)
    weights = [math.exp(x - most) for x in logits]
    total = math.fsum(weights)
    return [w / total for w in weights]


def shortest(ids, p, mass):
    """The first of `ids` whose probabilities reach `mass`; None where that hangs on rounding."""
    kept, total = [], 0.0
    for i in ids:
        kept.append(i)
        total += p[i]
        if abs(total - mass) < 1e-9 and len(kept) < len(ids):
            return None
        if total >= mass:
            break
    return kept


def candidates(logits, history, s):
    """(ids that stay, logits) or None where rounding decides. The ids stand as the last stage that
    sorts left them: by id at first, else best first."""
    logits = list(logits)
    last = s["penalty_last_n"]
    tail = history if last < 0 else history[max(0, len(history) - last):]
    for token in set(tail):
        x = logits[token]
        x = f32(x / f32(s["repeat_penalty"])) if x > 0 else f32(x * f32(s["repeat_penalty"]))
        fall = f32(f32(tail.count(token) * f32(s["frequency_penalty"])) +
                   f32(s["presence_penalty"]))
        logits[token] = f32(x - fall)
    ids = [i for i in range(N) if logits[i] > -math.inf]
    if s["temperature"] == 0:
        return [max(ids, key=lambda i: (logits[i], -i))], logits
    if 0 < s["top_k"] < len(ids):
        ids = sorted(ids, key=lambda i: (-logits[i], i))[:s["top_k"]]
    for name in ("typical_p", "top_p", "min_p"):
        p = dict(zip(ids, softmax([logits[i] for i in ids])))
        if name == "typical_p" and s[name] < 1:
            entropy = -math.fsum(x * math.log(x) for x in p.values() if x > 0)
            distance = {i: abs(-math.log(p[i]) - entropy) if p[i] > 0 else math.inf for i in ids}
            ids = sorted(ids, key=lambda i: (distance[i], i))
            near = zip(sorted(distance.values()), sorted(distance.values())[1:])
            if any(0 < b - a < 1e-9 for a, b in near):
                return None
            ids = shortest(ids, p, f32(s[name]))
        elif name == "top_p" and s[name] < 1:
            ids = shortest(sorted(ids, key=lambda i: (-logits[i], i)), p, f32(s[name]))
        elif name == "min_p" and s[name] > 0:
            limit = f32(s[name]) * max(p.values())
            if any(0 < abs(x - limit) < 1e-12 for x in p.values()):
                return None
            ids = [i for i in ids if p[i] >= limit]
        if ids is None:
            return None
    return ids, logits


def choose(logits, history, s, position):
    found = candidates(logits, history, s)
    if found is None or s["temperature"] == 0:
        return found and found[0][0], found
    ids, logits = found
    u = philox_unit(s["seed"], 0, position)
    weights = softmax([logits[i] / f32(s["temperature"]) for i in ids])
    total = 0.0
    for i, weight in zip(ids, weights):
        if abs(total + weight - u) < 1e-9:
            return None, found
        total += weight
        if total > u:
            return i, found
    return None, found


# ---- random cases ----

randomness = random.Random(20)
base = (ctypes.c_float * N)()
count = ctypes.c_size_t()


def random_settings():
    def some(chance, value, otherwise):
        return value if randomness.random() < chance else otherwise
    uniform = randomness.uniform
    return dict(seed=randomness.choice([0, 1, randomness.randrange(1 << 63)]),
                temperature=some(0.8, uniform(0.05, 3), 0.0),
                top_k=some(0.4, randomness.randrange(1, N + 20), 0),
                typical_p=some(0.3, uniform(0.05, 1), 1.0),
                top_p=some(0.4, uniform(0.01, 1), 1.0),
                min_p=some(0.3, uniform(0.001, 0.9), 0.0),
                repeat_penalty=some(0.4, uniform(0.5, 2), 1.0),
                frequency_penalty=some(0.3, uniform(-1, 2), 0.0),
                presence_penalty=some(0.3, uniform(-1, 2), 0.0),
                penalty_last_n=randomness.choice([-1, 0, 1, 5, 64]))


def random_logits(actual):
    """Biases, and what they make of the model's logits: smooth, sharp, with ties, with ids that are
    forbidden."""
    kind = randomness.randrange(4)
    spread = randomness.choice([0.5, 2.0, 8.0])
    wanted = [randomness.gauss(0, spread) for _ in range(N)]
    if kind == 1:
        wanted = [float(round(x)) for x in wanted]
    biases = [f32(w - a) for w, a in zip(wanted, actual)]
    if kind == 2:
        biases = [b if randomness.random() < 0.3 else -math.inf for b in biases]
        biases[randomness.randrange(N)] = 0.0
    if kind == 3:
        biases = [0.0] * N
        biases[randomness.randrange(N)] = f32(randomness.uniform(-20, 20))
    return biases, [f32(a + b) for a, b in zip(actual, biases)]


wrong, skipped, seen = [], 0, set()
for number in range(CASES):
    if number % 10 == 0:
        history = [randomness.randrange(3, N) for _ in range(randomness.randrange(1, 40))]
        history += randomness.choices(history, k=randomness.randrange(20))
        call("radllm_session_rewind", session, 0)
        call("radllm_session_feed", session, (ctypes.c_int32 * len(history))(*history),
             ctypes.c_size_t(len(history)), None)
        call("radllm_session_logits", session, base, ctypes.c_size_t(N), ctypes.byref(count))
    s = random_settings()
    biases, logits = random_logits(list(base))
    wanted, found = choose(logits, history, s, len(history))
    texts = [f"{i}:{b!r}" for i, b in enumerate(biases) if b != 0]
    token, logprob = ctypes.c_int32(), ctypes.c_float()
    with Options(logit_bias=texts, **s) as options:
        call("radllm_session_sample", session, options, ctypes.byref(token), ctypes.byref(logprob))
    if wanted is None:
        skipped += 1
        continue
    seen.add(s["temperature"] == 0)
    plain = math.log(softmax(list(base))[token.value])
    if token.value != wanted or abs(logprob.value - plain) > 1e-4:
        wrong.append(f"case {number}: {token.value} ({logprob.value}), not {wanted} ({plain}), "
                     f"{len(found[0])} candidates, {s}")
check(len(seen) == 2 and skipped < CASES // 20, f"{CASES} cases, {skipped} of them too near a tie")
tap.check(not wrong, "the second implementation chooses the same tokens", wrong[:10])

# ---- an empty prompt ----

with Options(max_tokens=2) as options:
    request = pointer()
    call("radllm_request_new_complete", session, b"", ctypes.c_size_t(0), options,
         ctypes.byref(request))
    call("radllm_request_run", request, None)
    call("radllm_request_number", request, b"prompt_tokens", ctypes.byref(vocabulary))
    radllm.radllm_request_free(request)
check(vocabulary.value == 1, "an empty prompt is BOS alone where BOS is not added to texts")

finish()
