"""Make the demo articles from the words of vocabulary.yaml. No article was ever published.

The same day and seed give the same articles. `load_demo` stores them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any

import yaml

# Far above the ids of GregoryAI and PubMed, and within a 32-bit column.
FIRST_ID = 1_000_000_001
LABELLED, UNLABELLED = 120, 40
# As in real data, some labels are wrong, some abstracts are missing and some contain mark-up.
LABELS_PER_ERROR = 40
EMPTY_ABSTRACTS = 0.09
TAGGED, CRLF = 0.05, 0.05
WITH_BACKGROUND, WITH_CLOSING = 0.3, 0.7
# Most articles are well inside the default window of 90 days, so a loaded demo remains usable for some days. No age is near its edge, so
# the models do not depend on the day.
RECENT = 0.9
RECENT_DAYS, OLD_DAYS, OLDEST_DAYS = 75, 100, 500

_SLOT = re.compile(r"\{(?:(\d+)-(\d+)|(\w+))\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The review of an article for one subject. label None: not reviewed."""

    team: str
    subject: str
    label: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoArticle:
    """One invented article. A few articles have reviews for two subjects."""

    article_id: int
    title: str
    abstract: str
    discovery_date: datetime
    reviews: tuple[Review, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The sentences of one kind of article, and the word lists that fill their slots."""

    words: Mapping[str, Sequence[str]]
    titles: Sequence[str]
    backgrounds: Sequence[str]
    openings: Sequence[str]
    methods: Sequence[str]
    results: Sequence[str]
    closings: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    title: str
    abstract: str
    reviews: tuple[Review, ...]


def generate(today: date, *, seed: int = 20) -> list[DemoArticle]:
    """All articles in order of id. Each is discovered before the midnight (UTC) at which `today` begins."""
    vocabulary = yaml.safe_load(Path(__file__).with_name("vocabulary.yaml").read_text(encoding="utf-8"))
    drafts: dict[str, _Draft] = {}
    for draft in _drafts(vocabulary, seed):
        drafts.setdefault(draft.title, draft)
    random = _random(seed, "order")
    order = list(drafts.values())
    random.shuffle(order)
    midnight = datetime.combine(today, time(), tzinfo=UTC)
    return [
        DemoArticle(
            article_id=FIRST_ID + position,
            title=draft.title,
            abstract=draft.abstract,
            discovery_date=midnight - timedelta(days=_age(random), seconds=random.randrange(86_400)),
            reviews=draft.reviews,
        )
        for position, draft in enumerate(order)
    ]


def _random(seed: int, purpose: str) -> Random:
    # One stream per purpose: a new sentence in one subject does not change the other subjects.
    return Random(f"{seed}/{purpose}")  # noqa: S311


def _age(random: Random) -> int:
    return random.randint(0, RECENT_DAYS) if random.random() < RECENT else random.randint(OLD_DAYS, OLDEST_DAYS)


def _drafts(vocabulary: Mapping[str, Any], seed: int) -> Iterator[_Draft]:
    subjects = vocabulary["subjects"]
    for slug, subject in subjects.items():
        random = _random(seed, slug)
        # The shares of the kinds and of the wrong labels are exact. So balance and difficulty hardly depend on the seed.
        pool = [kind for kind in subject["kinds"].values() for _ in range(kind["weight"])]
        wrong = {start + random.randrange(LABELS_PER_ERROR) for start in range(0, LABELLED, LABELS_PER_ERROR)}
        for count, labelled in ((LABELLED, True), (UNLABELLED, False)):
            for position in range(count):
                kind = pool[position * len(pool) // count]
                label = (kind["relevant"] != (position in wrong)) if labelled else None
                yield _draft(_kind(vocabulary, subject, kind), (Review(team=subject["team"], subject=slug, label=label),), random)
    random = _random(seed, "shared")
    for kind in vocabulary["shared"]:
        reviews = tuple(Review(team=subjects[slug]["team"], subject=slug, label=label) for slug, label in kind["labels"].items())
        for _ in range(kind["count"]):
            yield _draft(_kind(vocabulary, subjects[reviews[0].subject], kind), reviews, random)


def _kind(vocabulary: Mapping[str, Any], subject: Mapping[str, Any], kind: Mapping[str, Any]) -> _Kind:
    return _Kind(
        words=vocabulary["words"] | subject["words"],
        titles=kind["titles"],
        backgrounds=kind.get("backgrounds", subject["backgrounds"]),
        openings=kind["openings"],
        methods=kind["methods"],
        results=vocabulary[kind.get("results", "results")],
        closings=[] if "results" in kind else vocabulary["closings"],
    )


def _draft(kind: _Kind, reviews: tuple[Review, ...], random: Random) -> _Draft:
    chosen: dict[str, str] = {}
    title = _fill(random.choice(kind.titles), kind.words, chosen, random)
    sentences = [random.choice(kind.backgrounds)] if random.random() < WITH_BACKGROUND else []
    sentences += [random.choice(kind.openings), random.choice(kind.methods), *random.sample(kind.results, random.randint(1, 3))]
    if kind.closings and random.random() < WITH_CLOSING:
        sentences.append(random.choice(kind.closings))
    abstract = _layout([_fill(sentence, kind.words, chosen, random) for sentence in sentences], random)
    return _Draft(title=title, abstract="" if random.random() < EMPTY_ABSTRACTS else abstract, reviews=reviews)


def _fill(template: str, words: Mapping[str, Sequence[str]], chosen: dict[str, str], random: Random) -> str:
    """Fill the slots of the template. `chosen` holds the words used so far, so title and abstract have the same topic."""

    def word(slot: re.Match[str]) -> str:
        low, high, name = slot.groups()
        if name is None:
            return str(random.randint(int(low), int(high)))
        key = name.lower()
        if key not in chosen:
            chosen[key] = _fill(random.choice(words[key]), words, chosen, random)
        return chosen[key] if name == key else chosen[key][0].upper() + chosen[key][1:]

    return _SLOT.sub(word, template)


def _layout(sentences: Sequence[str], random: Random) -> str:
    """Join the sentences. Most abstracts are one paragraph. As in real data, some have tags or CR LF line ends."""
    style = random.random()
    if style < TAGGED:
        return f"<p><b>Background:</b> {sentences[0]}</p><p>{' '.join(sentences[1:])}</p>"
    return ("\r\n" if style < TAGGED + CRLF else " ").join(sentences)
