"""Writes synthetic radiology reports with labels, and the questions asked about them.

No real patient text is used. Everything is a function of the seed. There are two disjoint banks of
sentence templates and synonyms (`train` and `held`); check_disjoint() asserts that nothing of the
held-out bank occurs in training text.

Labelling rule (the same in both banks; the instruction given to the model does not change):
  * present: stated in findings or impression, also when unchanged, improving, probable, suspected,
    likely, possible or "consistent with";
  * absent: negated, resolved, unlikely, "cannot be excluded", not mentioned, or mentioned in the
    indication, history or comparison only.
"""

import json
import random
import re
import zlib
from functools import lru_cache

from finding_wording import FILLER_MORE, FINDING_MORE, MINOR_MORE
from findings_bank import ABDOMEN, CHEST, FINDINGS, MINOR_FINDINGS, words
from sentence_bank import HELD, TRAIN
from sentence_wording import TRAIN_MORE, expand

BANKS = {"train": TRAIN, "dev": TRAIN, "plain": TRAIN, "held": HELD}  # plain: without the grammars
ALL_FINDINGS = FINDINGS + MINOR_FINDINGS
BY_NAME = {entry["name"]: entry for entry in ALL_FINDINGS}
NAMES = [entry["name"] for entry in FINDINGS]
ALL_NAMES = [entry["name"] for entry in ALL_FINDINGS]
# Names asked for that would be answered by another finding's words are left out of that question.
ORDINALS = ["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]

MODALITIES = {
    "chest radiograph": ([CHEST], ["CHEST RADIOGRAPH", "Chest X-ray, PA and lateral",
                                   "Portable chest radiograph", "XR CHEST", "CXR"]),
    "abdominal ultrasound": ([ABDOMEN], ["ABDOMINAL ULTRASOUND", "Ultrasound of the abdomen",
                                         "US ABDOMEN COMPLETE", "Sonography of the upper abdomen"]),
    "CT abdomen": ([ABDOMEN], ["CT ABDOMEN AND PELVIS", "CT of the abdomen with contrast", "CT ABDOMEN"]),
    "CT chest": ([CHEST], ["CT CHEST", "CT of the thorax", "CT pulmonary angiogram"]),
    "CT chest and abdomen": ([CHEST, ABDOMEN], ["CT CHEST, ABDOMEN AND PELVIS",
                                                "CT of the chest and abdomen", "Whole-body CT"]),
}

PROMPTS = [
    "Classify if the following radiology report indicated the presence of {x}. Answer yes or no.\n\n{r}",
    "Classify if the following radiology report indicated the presence of {x}.\n\n{r}",
    "Classify if the following radiology report indicated the presence of {x}: {r}",
    "Classify if the following radiology report indicates the presence of {x}. Answer yes or no.\n\n{r}",
    "Classify if the following radiology report indicated the presence of {x}. Answer yes or no.\n{r}",
    "Classify if the following radiology report indicated the presence of \"{x}\". Answer with yes or no.\n\n{r}",
    "Does the following radiology report indicate the presence of {x}? Answer yes or no.\n\n{r}",
    "Is {x} present in this report? Answer yes or no.\n\n{r}",
]
PROMPT_WEIGHTS = [44, 12, 12, 6, 8, 6, 8, 4]
FOLLOW_UPS = ["And {x}?", "{x}?", "And {x}?", "Is {x} present?",
              "Does the report indicate the presence of {x}?",
              "Classify if the report indicated the presence of {x}. Answer yes or no."]
LIST_PROMPT = "Name the findings present in the following radiology report as a JSON list.\n\n{r}"
LIST_FOLLOW_UP = "Name the findings present as a JSON list."
IMPRESSION_PROMPT = "Write a one-line impression of the following radiology report.\n\n{r}"
IMPRESSION_FOLLOW_UP = "Write a one-line impression."


def capital(text):
    return text[:1].upper() + text[1:]


def with_article(kind, text):
    if kind != "a":
        return text
    if text.startswith("AAA"):
        return "an " + text
    return ("an " if text[0].lower() in "aeiou" else "a ") + text


SYLLABLES = ("cal per tri mo lar sten gra vi pha lu ne cor dis tu ber cu lo sis ra tion ple xi an gio "
             "ma ly so me ter ga hyp ec ul ve na por sa cro il ium fe mur te no re con de ti al en ing pro "
             "ap ob sta ne cle fo ad min str qu sh th ow ear ight").split()
ENDINGS = ["", "", "", "able", "ly", "al", "ing", "ive", "ous", "ion", "ment", "ic"]


# Findings whose words overlap: asked about when only the other one is there.
CONFUSABLE = [("pleural effusion", "pneumothorax"), ("pleural effusion", "ascites"), ("gallstones", "renal calculus"),
              ("pneumonia", "pulmonary edema"), ("pneumonia", "pulmonary nodule"), ("hepatic steatosis", "cirrhosis"),
              ("cardiomegaly", "splenomegaly"), ("hydronephrosis", "renal calculus"), ("cirrhosis", "ascites"),
              ("hydronephrosis", "aortic aneurysm"), ("pulmonary nodule", "cirrhosis"), ("cirrhosis", "splenomegaly"),
              ("pulmonary edema", "pleural effusion"), ("cardiomegaly", "pulmonary edema"), ("cardiomegaly", "aortic aneurysm")]
# Words that can turn a statement round; the others may be replaced by made-up ones in training.
CUES = set("no not nor neither never none nothing without cannot can't negative absent absence excluded exclude excludes "
           "ruled rule rules out lack lacks lacking free clear cleared clearing resolved resolution unlikely improbable "
           "doubtful longer gone disappeared disappearance vanished against devoid fails failed fail nil zero low "
           "little difficult hard impossible unable refuted dismissed discounted exclusion doesn't don't isn't wasn't "
           "limited previous prior previously former formerly more any if less but however although though while "
           "whereas apart than".split())
STRONG = {"no", "not", "without", "neither", "nor", "never"}
# Wording of the development set: one alternative in DEV_SHARE of every list of the grammars, never trained on.
DEV_SHARE = 14
ALL_WORDING = False  # the last part of a training run may use the development wording too


def is_dev(text):
    return bool(text) and zlib.crc32(("wording " + text).encode()) % DEV_SHARE == 0


@lru_cache(maxsize=None)
def split_dev(options):
    """(training alternatives, development alternatives) of a list; short lists are not split."""
    if len(options) < 4:
        return options, ()
    kept = tuple(o for o in options if not is_dev(o))
    return (kept or options), tuple(o for o in options if is_dev(o))


def made_up_word(rng):
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3))) + rng.choice(ENDINGS)


def noise_sentence(rng):
    """A sentence of made-up words: unknown words must not change an answer."""
    made = [made_up_word(rng) for _ in range(rng.randint(1, 4))]
    return rng.choice(["The {} is unremarkable.", "There is {}.", "No {}.", "{} noted.", "Status post {}.",
                       "The {} is normal.", "{} is enlarged."]).format(" ".join(made))


class Noun:
    def __init__(self, kind, text):
        self.kind, self.text = kind, text

    def slots(self):
        plural = self.kind == "p"
        return {"is": "are" if plural else "is", "has": "have" if plural else "has",
                "was": "were" if plural else "was", "is_pl": "are" if plural else "is", "is_sg": "is"}


class Writer:
    """Writes sentences from one bank with one random stream."""

    def __init__(self, rng, bank, noise=True):
        self.rng, self.words, self.noise = rng, BANKS[bank], noise
        self.bank = "held" if bank == "held" else "train"
        self.dev = bank == "dev"
        self.grammar = bank in ("train", "dev")

    def pick(self, options):
        """One alternative of a grammar; the development wording only in development text."""
        if ALL_WORDING:
            return self.rng.choice(options)
        train, dev = split_dev(tuple(options))
        return self.rng.choice(dev if self.dev and dev and self.rng.random() < 0.5 else train)

    def more(self, patterns):
        """A frame of the grammars, none that the held-out bank uses."""
        while True:
            text = expand(self.rng.choice(patterns), self.pick)
            if (self.noise or "{wug" not in text.lower()) and not held_wording(text):
                return text

    def noun(self, name):
        if self.grammar and self.rng.random() < 0.6:
            patterns = FINDING_MORE[name]["nouns"] if name in FINDING_MORE else words(MINOR_MORE[name])
            while True:
                kind, text = self.rng.choice(patterns).split(":", 1)
                text = expand(text, self.pick)
                text = text if text[:3].isupper() else text[:1].lower() + text[1:]
                if not held_wording(text):
                    return Noun(kind, self.numbers(text, False))
        kind, text = self.rng.choice(BY_NAME[name][self.bank]["nouns"]).split(":", 1)
        return Noun(kind, self.numbers(text, False))

    def plain(self, name):
        return self.noun(name).text

    def phrase(self, name):
        """A noun with an amount or a side in front, as a present finding has."""
        entry, noun = BY_NAME[name], self.noun(name)
        parts, sided = [], False
        if entry["size"] and self.rng.random() < 0.4:
            parts.append(self.rng.choice(entry["size"]))
        elif entry in MINOR_FINDINGS and self.rng.random() < 0.3:
            parts.append(self.rng.choice(["mild", "small", "minimal", "moderate", "stable"]))
        if entry["side"] and self.rng.random() < 0.4:
            sides = ["left", "right", "left-sided", "right-sided"]
            parts.append(self.rng.choice(sides + ["bilateral"] * 3 if noun.kind == "p" else sides))
            sided = True
        first_word = noun.text.split()[0].lower()
        parts = [p for p in parts if p.lower() != first_word]
        return Noun(noun.kind, " ".join(parts + [noun.text])), sided

    def place(self, name, sided):
        places = BY_NAME[name]["place"]
        return " " + self.rng.choice(places) if places and not sided and self.rng.random() < 0.45 else ""

    def date(self):
        r = self.rng
        return r.choice(["the prior study", "the previous examination", "last month", "yesterday",
                         f"{r.randint(1, 28):02d}.{r.randint(1, 12):02d}.20{r.randint(10, 25)}",
                         f"20{r.randint(10, 25)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
                         f"{r.choice(['January', 'March', 'May', 'July', 'October'])} 20{r.randint(10, 25)}",
                         f"{r.randint(1, 12)}/{r.randint(1, 28)}/20{r.randint(10, 25)}"])

    def size(self, name):
        low, high = BY_NAME[name]["measure"] or (5, 60)
        value = self.rng.randint(low, high)
        style = self.rng.random()
        if style < 0.5:
            return f"{value} mm"
        if style < 0.8:
            return f"{value / 10:.1f} cm"
        return f"{value} x {max(2, value - self.rng.randint(1, 4))} mm"

    def numbers(self, text, sentence=True):
        """Fills {mm:a-b}, {cm:a-b}, {side}, {ord}, {age}, {d}, {when}."""
        def one(match):
            key, _, span = match.group(1).partition(":")
            if span:
                low, high = span.split("-")
                if key == "cm":
                    return f"{self.rng.uniform(float(low), float(high)):.1f}"
                return str(self.rng.randint(int(low), int(high)))
            if key in ("wug", "Wug"):
                return self.unknown(key)
            return {"side": lambda: self.rng.choice(["left", "right"]),
                    "ord": lambda: self.rng.choice(ORDINALS), "age": lambda: str(self.rng.randint(18, 93)),
                    "d": lambda: str(self.rng.randint(54, 68)), "when": self.date}[key]()
        text = re.sub(r"\{((?:mm|cm):[0-9.]+-[0-9.]+|side|ord|age|d|when|wug|Wug)\}", one, text)
        return capital(text) if sentence else text

    def fill(self, template, name=None, others=()):
        """A sentence about `name`; `others` are further findings named in it."""
        slots = {"when": self.date()}
        if self.grammar:
            template = self.numbers(template, False)
        while "{wug" in template.lower():  # one at a time: each is another word
            template = re.sub(r"\{(wugs?|Wug)\}", lambda m: self.unknown(m.group(1)), template, count=1)
        if name:
            positive = "{nn}" not in template and "{Nn}" not in template
            noun, sided = self.phrase(name) if positive else (self.noun(name), True)
            slots.update(noun.slots())
            loc = self.place(name, sided) if "{loc}" in template else ""
            if " in the " in noun.text or " of the " in noun.text:
                loc = ""
            slots.update(np=noun.text, anp=with_article(noun.kind, noun.text), loc=loc, nn=noun.text)
            slots.update(Np=capital(noun.text), Anp=capital(slots["anp"]), Nn=capital(noun.text),
                         anp0=slots["anp"], does="do" if noun.kind == "p" else "does", are="are")
            if "ize}" in template:
                slots["size"] = slots["Size"] = self.size(name)
        for index, other in enumerate(others, 1):
            if "{q" in template:
                noun, _ = self.phrase(other)
                slots[f"q{index}"] = with_article(noun.kind, noun.text)
            else:
                noun = self.noun(other)
                slots[f"n{index}"], slots[f"N{index}"] = noun.text, capital(noun.text)
                slots[f"is{index}"] = "are" if noun.kind == "p" else "is"
        return template.format(**slots)

    def filler(self, region):
        """A sentence about something else."""
        if self.grammar and self.rng.random() < 0.6:
            return self.numbers(self.more(FILLER_MORE[region]))
        return self.numbers(self.rng.choice(self.words["filler"][region]))

    def unknown(self, form):
        word = made_up_word(self.rng)
        return capital(word) if form == "Wug" else word + "s" if form == "wugs" else word

    def choose(self, kind):
        if self.grammar and kind in TRAIN_MORE and self.rng.random() < 0.7:
            text = self.more(TRAIN_MORE[kind])
            return self.disturb(text, kind) if self.noise and self.rng.random() < 0.15 else text
        while True:
            template = self.rng.choice(self.words[kind])
            if self.noise or "{wug" not in template.lower():
                return template

    def disturb(self, template, kind):
        """Puts made-up words in the place of words that turn nothing round."""
        parts = template.split(" ")
        bare = [p.strip(".,;:()?").lower() for p in parts]
        if kind in ("present", "measured", "changed", "suspected"):
            if CUES & set(bare):
                return template
        elif kind not in ("absent", "absent_many") or not STRONG & set(bare):
            return template
        places = [i for i, b in enumerate(bare) if b.isalpha() and b not in CUES]
        for i in take(self.rng, places, self.rng.choice([1, 1, 2])):
            made = made_up_word(self.rng)
            parts[i] = parts[i].replace(parts[i].strip(".,;:()?"), capital(made) if parts[i][0].isupper() else made)
        return " ".join(parts)

    def clean(self, make):
        """A sentence without anything that the held-out bank says."""
        while True:
            text = make()
            if not self.grammar or not held_wording(text):
                return text

    def statement(self, name, key):
        """A sentence of which the finding is the subject, or none where there are none."""
        statements = BY_NAME[name][self.bank][key]
        more = FINDING_MORE[name][key] if self.grammar and name in FINDING_MORE else ()
        if more and self.rng.random() < 0.7:
            text = self.numbers(self.more(more))
            label = self.rng.choice(FINDING_MORE[name]["label"])
            return f"{label}: {text}" if self.rng.random() < 0.06 else text
        return self.numbers(self.rng.choice(statements)) if statements else None

    def present(self, name, style=None):
        """One sentence that says that the finding is there."""
        return self.clean(lambda: self.labelled(name, self.say_present(name, style)))

    def absent(self, name, style=None):
        """One sentence that says that the finding is not there."""
        return self.clean(lambda: self.labelled(name, self.say_absent(name, style)))

    def labelled(self, name, text):
        if self.grammar and name in FINDING_MORE and self.rng.random() < 0.05 and ": " not in text:
            return f"{self.rng.choice(FINDING_MORE[name]['label'])}: {text}"
        return text

    def say_present(self, name, style=None):
        statements = BY_NAME[name][self.bank]["present"]
        style = style or self.rng.choices(["present", "statement", "changed", "suspected", "measured"],
                                          [40, 22, 14, 16, 8])[0]
        if style == "statement" and statements:
            return self.statement(name, "present")
        if style == "measured" and BY_NAME[name]["measure"]:
            return self.fill(self.choose("measured"), name)
        if style in ("statement", "measured"):
            style = "present"
        return self.fill(self.choose(style), name)

    def say_absent(self, name, style=None):
        statements = BY_NAME[name][self.bank]["absent"]
        style = style or self.rng.choices(["absent", "statement", "resolved", "not_excluded"],
                                          [58, 18, 14, 10])[0]
        if style == "statement" and statements:
            return self.statement(name, "absent")
        if style == "statement":
            style = "absent"
        template = self.choose(style)
        return self.fill(template, name)


class Report:
    """text, labels by finding, and where each sentence ends with what it says (for training)."""

    def __init__(self, text, labels, marks, modality, mentions):
        self.text, self.labels, self.marks = text, labels, marks
        self.modality, self.mentions = modality, mentions
        self.asked = None  # the finding that the first question of a conversation asks for
        self.questions = []  # the findings of all yes/no questions, in order

    def present_names(self):
        return [name for name in NAMES if self.labels.get(name)]

    def as_list(self):
        return json.dumps(self.present_names())

    def impression(self):
        names = self.present_names()
        if not names:
            return "No significant abnormality."
        joined = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
        return capital(joined) + "."


def take(rng, pool, count):
    return rng.sample(pool, min(count, len(pool)))


# Findings whose words overlap: when the second is present the first is not negated outright.
CLASH = [{"pleural effusion", "pleural thickening"}, {"cardiomegaly", "pericardial effusion"}]


def plan_states(rng, regions, mentions, force):
    """Which findings the report calls present, absent, or mentions in the history only."""
    pool = [e["name"] for e in FINDINGS if e["region"] in regions]
    minors = [e["name"] for e in MINOR_FINDINGS if e["region"] in regions]
    chosen = take(rng, [n for n in pool if n not in force], mentions)
    states = {}
    share = rng.choice([0.15, 0.35, 0.5, 0.7])
    for name in chosen:
        states[name] = rng.random() < share
    for name in take(rng, minors, rng.choice([0, 0, 1, 1, 2])):
        states[name] = rng.random() < 0.5
    states.update({name: state for name, state in force.items() if state is not None})
    return states


def body_sentences(rng, writer, states, short):
    """Sentences of the findings section, each with what it says: [(text, {finding: 0/1})]."""
    bank = writer.words
    todo = list(states.items())
    rng.shuffle(todo)
    out = []
    absent = [n for n, s in todo if not s]
    present = [n for n, s in todo if s]
    quiet = {n for n in NAMES if not states.get(n)}
    if rng.random() < 0.15:
        options = [(t, c) for t, c in bank["normal_many"] if set(c) <= quiet]
        options = [(t, c) for t, c in options if set(c) & set(absent)]
        if options:
            text, covered = rng.choice(options)
            out.append((text, {n: 0 for n in covered}))
            absent = [n for n in absent if n not in covered or rng.random() < 0.3]
    while absent or present:
        roll = rng.random()
        if present and absent and roll < 0.12:
            template = writer.choose("mixed")
            need = 2 if "{n2}" in template else 1
            if len(absent) >= need:
                name, others = present.pop(), [absent.pop() for _ in range(need)]
                text = writer.fill(template, name, others)
                if writer.grammar and held_wording(text):
                    present.append(name)
                    absent += others
                    continue
                out.append((text, {name: 1, **{o: 0 for o in others}}))
                continue
        if len(absent) >= 2 and roll < 0.4:
            template = writer.choose("absent_many")
            need = 3 if "{n3}" in template else 2
            if len(absent) >= need:
                others = [absent.pop() for _ in range(need)]
                text = writer.fill(template, None, others)
                if writer.grammar and held_wording(text):
                    absent += others
                    continue
                out.append((text, {o: 0 for o in others}))
                continue
        if len(present) >= 2 and roll > 0.92:
            name, other = present.pop(), present.pop()
            text = writer.clean(lambda: writer.fill(writer.choose("present_many"), name, [other]))
            out.append((text, {name: 1, other: 1}))
            continue
        if absent and (not present or rng.random() < 0.5):
            name = absent.pop()
            template_others = writer.absent(name)
            out.append((template_others, {name: 0}))
        else:
            name = present.pop()
            out.append((writer.present(name), {name: 1}))
    rng.shuffle(out)
    return out


def write_report(seed, bank="train", mentions=None, force=None, history=(), modality=None, noise=True):
    """One report. `force` fixes the state of findings (True, False, None = not mentioned in the
    findings); `history` names findings to mention in the indication; `noise` allows made-up words and
    reports in capitals or without any (training bank only)."""
    rng = random.Random(seed)
    writer = Writer(rng, bank, noise)
    force = dict(force or {})
    if modality is None:
        fits = [m for m in MODALITIES if all(BY_NAME[n]["region"] in MODALITIES[m][0] for n in force)]
        modality = rng.choice(fits)
    regions, titles = MODALITIES[modality]
    if mentions is None:
        mentions = rng.choice([1, 2, 2, 3, 3, 4, 4, 5, 6, 8])
    states = plan_states(rng, regions, mentions, force)
    short = mentions <= 1 and rng.random() < 0.6
    sentences = body_sentences(rng, writer, states, short)
    for _ in range(rng.choice([0, 0, 1]) if short else rng.choice([0, 1, 1, 2, 3])):
        filler = writer.filler(rng.choice(regions))
        sentences.insert(rng.randint(0, len(sentences)), (filler, {}))
    if noise and bank == "train" and rng.random() < 0.1:
        sentences.insert(rng.randint(0, len(sentences)), (noise_sentence(rng), {}))
    if not sentences:
        sentences = [(writer.filler(regions[0]), {})]
    parts = []  # (text, says) in order; text carries its own separators
    headed = not short and rng.random() < 0.75
    newline = rng.random() < 0.7
    gap = "\n" if newline else " "
    upper_heads = rng.random() < 0.7
    head = (lambda t: t.upper()) if upper_heads else (lambda t: t)
    if headed and rng.random() < 0.6:
        parts.append((rng.choice(titles) + ("" if newline else "."), {}))
    history = list(history)
    if not history and bank != "held" and rng.random() < 0.35:
        history = [rng.choice([n for n in NAMES if BY_NAME[n]["region"] in regions])]
    if history or (headed and rng.random() < 0.5):
        lines = [writer.clean(lambda: writer.fill(writer.choose("history"), n)) for n in history]
        if not lines or rng.random() < 0.3:
            lines.insert(0, writer.numbers(writer.choose("plain_history")))
        title = head(rng.choice(["Indication", "Clinical history", "History", "Clinical information", "Reason"]))
        if writer.grammar and rng.random() < 0.3:
            title = head(rng.choice(["Reason for exam", "Clinical indication", "Clinical question", "Clinical details",
                                     "Referral", "Background", "Question", "Reason for examination", "Hx"]))
        parts.append((title + ": " + " ".join(lines), {}))
    if headed and rng.random() < 0.35:
        parts.append((head("Comparison") + ": " + writer.numbers(writer.choose("comparison")), {}))
    if headed and rng.random() < 0.15:
        parts.append((head("Technique") + ": " + rng.choice(
            ["PA and lateral views.", "Portable AP view.", "Helical acquisition.", "Real-time scanning."]), {}))
    lead = head(rng.choice(["Findings", "Findings", "Report"])) + ":" if (headed or history) else ""
    inline = rng.random()
    built = []
    for index, (text, says) in enumerate(sentences):
        if index == 0 and lead:
            text = lead + (" " if inline < 0.6 else gap) + text
        glue = "" if index == 0 else ("\n- " if inline > 0.93 else "\n" if inline > 0.85 else " ")
        built.append((glue, text, says))
    if not short and rng.random() < 0.12:
        built.append((" ", writer.choose("closing"), {}))
    if headed and rng.random() < 0.5 and len(sentences) > 1:
        items = [(n, True) for n in NAMES if states.get(n)]
        items += [(n, False) for n in NAMES if states.get(n) is False and rng.random() < 0.25]
        items = take(rng, items, 4)
        title = head(rng.choice(["Impression", "Impression", "Conclusion", "Opinion"])) + ":"
        numbered = rng.random() < 0.4
        if items:
            built.append((gap, title, {}))
        for number, (name, state) in enumerate(items, 1):
            text = writer.present(name) if state else writer.absent(name)
            built.append(((gap if newline and numbered else " "), (f"{number}. " if numbered else "") + text,
                          {name: int(state)}))
    text, marks = "", []
    for piece, says in parts:
        text += piece
        marks.append((len(text), {}))
        text += gap
    for glue, piece, says in built:
        text += glue + piece
        marks.append((len(text), says))
    style = rng.random()
    if noise and bank == "train" and style < 0.03:
        text = text.upper()
    elif noise and bank == "train" and style < 0.05:
        text = text.lower()
    mentioned = set(states) | set(history)
    for _, says in marks:
        mentioned |= set(says)
    return Report(text, {n: bool(states.get(n)) for n in ALL_NAMES}, marks, modality, mentioned)


def ask_name(rng, name):
    """The finding as a question words it."""
    entry = BY_NAME[name]
    text = name if rng.random() < 0.8 else rng.choice(entry["ask"])
    roll = rng.random()
    if roll < 0.12:
        return capital(text)
    return text.upper() if roll < 0.15 else text


def pick_question(rng, report, want=None):
    """A finding to ask about, half of the time one that is present."""
    present = [n for n in ALL_NAMES if report.labels[n]]
    core_present = [n for n in present if n in NAMES]
    mentioned = [n for n in report.mentions if not report.labels[n]]
    core_mentioned = sorted(n for n in mentioned if n in NAMES)
    want = rng.random() < 0.5 if want is None else want
    if want and present:
        return rng.choice(core_present or present) if rng.random() < 0.9 else rng.choice(present)
    if mentioned and rng.random() < 0.8:
        return rng.choice(core_mentioned or sorted(mentioned)) if rng.random() < 0.9 else \
            rng.choice(sorted(mentioned))
    there = {n for n in ALL_NAMES if report.labels[n]}
    mixed_up = sorted({b for pair in CONFUSABLE for a, b in (pair, pair[::-1]) if a in there and b not in there})
    if mixed_up and rng.random() < 0.6:
        return rng.choice(mixed_up)
    left = [n for n in NAMES if not report.labels[n]]
    return rng.choice(left)


def conversation(seed, bank="train", turns=8, mentions=None):
    """A training example: messages [(role, text)], the report, and where it begins in turn one."""
    rng = random.Random(seed * 7919 + 13)
    report = write_report(rng.getrandbits(48), bank, mentions)
    kind = rng.choices(["ask", "list", "impression"], [84, 10, 6])[0]
    messages, asked = [], []
    if kind == "ask":
        name = pick_question(rng, report)
        prompt = rng.choices(PROMPTS, PROMPT_WEIGHTS)[0]
        first, answer = prompt.format(x=ask_name(rng, name), r=report.text), answer_of(report, name)
        asked.append(name)
        report.asked = name
        report.questions.append(name)
    elif kind == "list":
        first, answer = LIST_PROMPT.format(r=report.text), report.as_list()
    else:
        first, answer = IMPRESSION_PROMPT.format(r=report.text), report.impression()
    messages = [("user", first), ("assistant", answer)]
    present = [n for n in ALL_NAMES if report.labels[n]]
    absent = sorted(n for n in report.mentions if not report.labels[n])
    others = [n for n in NAMES if n not in report.mentions]
    mixed_up = sorted({b for pair in CONFUSABLE for a, b in (pair, pair[::-1])
                       if a in present and b not in present})
    others = mixed_up if mixed_up and rng.random() < 0.5 else others
    pool = take(rng, present, turns) + take(rng, absent, max(2, turns // 2)) + take(rng, others, 1)
    pool = [n for n in pool if n not in asked]
    rng.shuffle(pool)
    for name in pool[:turns]:
        report.questions.append(name)
        question = rng.choice(FOLLOW_UPS).format(x=ask_name(rng, name))
        messages += [("user", capital(question)), ("assistant", answer_of(report, name))]
    if turns and kind != "list" and rng.random() < 0.12:
        messages += [("user", LIST_FOLLOW_UP), ("assistant", report.as_list())]
    elif turns and kind != "impression" and rng.random() < 0.06:
        messages += [("user", IMPRESSION_FOLLOW_UP), ("assistant", report.impression())]
    return messages, report, first.index(report.text)


def answer_of(report, name):
    return "yes" if report.labels[name] else "no"


def literals(template):
    """The fixed parts of a template, longest first, in lower case."""
    parts = [p.strip().lower() for p in re.split(r"\{[^}]*\}", template)]
    return sorted((p for p in parts if p), key=len, reverse=True)


def bank_templates(bank):
    table = BANKS[bank]
    found = []
    for key, value in table.items():
        if key == "filler":
            found += [t for items in value.values() for t in items]
        elif key == "normal_many":
            found += [t for t, _ in value]
        else:
            found += value
    for entry in ALL_FINDINGS:
        found += entry[bank]["present"] + entry[bank]["absent"]
    return found


@lru_cache(maxsize=1)
def held_patterns():
    """What training text may not hold: every synonym of the held-out bank and the longest fixed part of
    every held-out template, and the held-out frames themselves."""
    parts = {noun.split(":", 1)[1].lower() for entry in ALL_FINDINGS for noun in entry["held"]["nouns"]}
    for template in bank_templates("held"):
        fixed = literals(template)
        if fixed and len(fixed[0].split()) > 1:
            parts.add(fixed[0])
    frames = {re.sub(r"\{[^}]*\}", "*", t).lower() for t in bank_templates("held")}
    return tuple(sorted(parts)), frames


def held_wording(text):
    """Whether a sentence or a frame says something as the held-out bank says it."""
    parts, frames = held_patterns()
    lower = text.lower()
    return any(p in lower for p in parts) or re.sub(r"\{[^}]*\}", "*", lower) in frames


def grammar_sample(each=60):
    """Frames, statements and nouns that the grammars of the training bank write."""
    writer = Writer(random.Random(4), "train")
    found = []
    for patterns in list(TRAIN_MORE.values()) + list(FILLER_MORE.values()):
        found += [writer.more([p]) for p in patterns for _ in range(each)]
    for entry in FINDING_MORE.values():
        found += [writer.more(entry[key]) for key in ("present", "absent") for _ in range(each * 4)]
    return found


def check_disjoint(sample=4000):
    """Asserts that no synonym and no template of the held-out bank occurs in training text."""
    corpus = "\n".join([write_report(10_000_019 * 3 + i, "train").text for i in range(sample)])
    frames = bank_templates("train") + grammar_sample()
    corpus += "\n" + "\n".join(frames)
    corpus += "\n" + "\n".join(n.split(":", 1)[1] for e in ALL_FINDINGS for n in e["train"]["nouns"])
    corpus = corpus.lower()
    problems = []
    for entry in ALL_FINDINGS:
        for noun in entry["held"]["nouns"]:
            phrase = noun.split(":", 1)[1].lower()
            if phrase in corpus:
                problems.append(f"synonym '{phrase}' of {entry['name']} occurs in training text")
    train_skeletons = {re.sub(r"\{[^}]*\}", "*", t).lower() for t in frames}
    for template in bank_templates("held"):
        skeleton = re.sub(r"\{[^}]*\}", "*", template).lower()
        fixed = literals(template)
        if skeleton in train_skeletons or (fixed and all(part in corpus for part in fixed)
                                           and len(fixed[0].split()) > 1):
            problems.append(f"template '{template}' occurs in training text")
    assert not problems, "\n".join(problems)
    return True


if __name__ == "__main__":
    import argparse
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--bank", choices=["train", "dev", "held"], default="train")
    parser.add_argument("--check", action="store_true", help="assert that the two banks are disjoint")
    arguments = parser.parse_args()
    if arguments.check:
        check_disjoint()
        print("the held-out bank occurs nowhere in training text")
    for offset in range(0 if arguments.check else arguments.count):
        one = write_report(arguments.seed + offset, arguments.bank)
        print(one.text, "\n=>", one.as_list(), "\n")
