"""The table of reasons: one entry per word, with all rules and documents that depend on it. No Django.

`python -m tools.reasons_table` writes the tables of the documents from it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from gregory.runs.words import Word


class Origin(StrEnum):
    """The class of the cause."""

    TRAINING = "training"
    REQUEST = "request"
    BACK_END = "back end"
    START = "start"


class Retried(StrEnum):
    """The part of a run that a reconciler retries. OTHERS: all but the algorithm in training."""

    NO = "no"
    YES = "yes"
    OTHERS = "the other algorithms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One reason.

    row_text: the content of the row's `error_message`. remedy: the next step of the operator.
    retried: if the back end took the run away, another attempt may succeed. A killed run is not retried: a user, or a kernel out of
    memory, sent the signal.
    resumable: a message offers the resume, because the cause is not in the training itself.
    report_takes_precedence: a run that reported why it stopped early did not end for this reason. The back end saw only the exit, or
    the end of one process that ran out of memory.
    """

    word: str
    origin: Origin
    meaning: str
    row_text: str
    remedy: str
    retried: Retried = Retried.NO
    resumable: bool = False
    report_takes_precedence: bool = False


class Reason(Word):
    """The cause for which a training or a run did not succeed. At most 20 characters: the width of its column.

    A word of another version has an entry too: nothing is retried or offered for it.
    """

    entry: Entry

    def __new__(cls, entry: Entry | str) -> Self:
        """The word as a string, with its entry. `Reason(word)` finds the member and does not come here."""
        if isinstance(entry, str):
            raise ValueError(f"the reason {entry} has no entry")
        member = str.__new__(cls, entry.word)
        member._value_ = entry.word
        member.entry = entry
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        unknown = super()._missing_(value)
        if unknown is not None:
            unknown.entry = Entry(
                word=unknown.value,
                origin=Origin.BACK_END,
                meaning="Another version of this program wrote this word.",
                row_text="The text of that version.",
                remedy="Read the documents of that version.",
            )
        return unknown

    BAD_DATA = Entry(
        word="bad_data",
        origin=Origin.TRAINING,
        meaning="A class has too few articles for three parts, the data window is empty, or the texts contain no word.",
        row_text="The traceback. Its last line has the counts and the remedy.",
        remedy="Label more articles, or widen the window with `--lookback-days` or `--all-articles`.",
    )
    BAD_CONFIG = Entry(
        word="bad_config",
        origin=Origin.TRAINING,
        meaning="A hyper-parameter does not fit, for example a text length above the limit of the encoder.",
        row_text="The traceback. Its last line names the key and the value.",
        remedy="Correct the hyper-parameter file.",
    )
    BASE_MODELS = Entry(
        word="base_models",
        origin=Origin.TRAINING,
        meaning="A base model is missing, damaged or of the wrong kind.",
        row_text="The traceback. Its last line names the file.",
        remedy="Run `make base-models` (small models: `python manage.py prepare_base_models --demo`), or copy your bundle again.",
    )
    ARTIFACT = Entry(
        word="artifact",
        origin=Origin.TRAINING,
        meaning="The model answered differently after it was loaded back, its files changed, or the texts have another version.",
        row_text="The traceback.",
        remedy="Read the message: the loaded model answers differently, a file changed, or its text version is unknown.",
    )
    STORAGE = Entry(
        word="storage",
        origin=Origin.TRAINING,
        meaning="The file system of the models refused a model or a file: full, read-only, another mount, or permissions.",
        row_text="The folder, the cause, the remedy, and whether a trained model is kept. Or the traceback of a stage.",
        remedy="Correct the cause that the message names, then resume. A finished model is published and not trained again.",
        resumable=True,
    )
    NO_GPU = Entry(
        word="no_gpu",
        origin=Origin.TRAINING,
        meaning="The run must have a GPU (`GREGORY_REQUIRE_GPU`) and found none. It never uses the CPU instead.",
        row_text="The result of TensorFlow's search for a GPU.",
        remedy="Check driver, container and `CUDA_VISIBLE_DEVICES`, or set `GREGORY_REQUIRE_GPU` to `false` to train on the CPU.",
    )
    OUT_OF_MEMORY = Entry(
        word="out_of_memory",
        origin=Origin.TRAINING,
        meaning="The kernel killed the stage or the container for its memory, or a library could not allocate memory.",
        row_text="The stage, the last progress, the peak memory and the limit, or the traceback of the library.",
        remedy="Raise the memory limit and resume, or train again with a lower `bert.batch_size` or `bert.max_length`.",
        retried=Retried.OTHERS,
        report_takes_precedence=True,
    )
    KILLED = Entry(
        word="killed",
        origin=Origin.BACK_END,
        meaning="A signal of unknown origin ended the stage or the run.",
        row_text="The signal, the stage, the last progress and the peak memory.",
        remedy="Find the sender of the signal (kernel log, operator, service manager), then resume.",
        resumable=True,
        report_takes_precedence=True,
    )
    INTERRUPTED = Entry(
        word="interrupted",
        origin=Origin.REQUEST,
        meaning="The run stopped early: a signal, the loss of its starting command or database, or deletion of its pod.",
        row_text="The cause, the stage and the last progress.",
        remedy="Resume, or train again. Repair the database first if the message names it.",
        retried=Retried.YES,
        resumable=True,
        report_takes_precedence=True,
    )
    CANCELLED = Entry(
        word="cancelled",
        origin=Origin.REQUEST,
        meaning="An operator called `training_runs cancel`, in some cases before the run began.",
        row_text="The name of the operator.",
        remedy="Do nothing: the message names the operator.",
        resumable=True,
    )
    DELETED = Entry(
        word="deleted",
        origin=Origin.REQUEST,
        meaning="A user or a program deleted the Job or the container.",
        row_text="The name of the deleted object, and the exit code.",
        remedy="Find the user or program that deletes Jobs, pods or containers, then resume.",
        resumable=True,
    )
    OVERRIDDEN = Entry(
        word="overridden",
        origin=Origin.REQUEST,
        meaning="Another program ended or deleted the row during the training, or deleted the subject. GregoryAI's admin can do so.",
        row_text="The text of that program. A deleted row has none: `training_runs show` names the cause.",
        remedy="Do nothing, or train again.",
    )
    EVICTED = Entry(
        word="evicted",
        origin=Origin.BACK_END,
        meaning=(
            "The cluster removed the pod: Eviction API (`kubectl drain`), taint, low resources of the node, or disk "
            "limit. Or the node rejected it."
        ),
        row_text="The kind of eviction, in the cluster's words.",
        remedy="Stop the drain, tolerate the taint or raise `resources`, as the message suggests, then resume.",
        retried=Retried.YES,
        resumable=True,
    )
    PREEMPTED = Entry(
        word="preempted",
        origin=Origin.BACK_END,
        meaning="A pod of higher priority took the place of the run's pod.",
        row_text="The name of that pod, if the cluster gives it.",
        remedy="Give runs a higher `priorityClassName` or a quieter hour, then resume.",
        retried=Retried.YES,
        resumable=True,
    )
    NODE_LOST = Entry(
        word="node_lost",
        origin=Origin.BACK_END,
        meaning=(
            "The node is gone, was shut down, was down and lost its container, or lost its pods after it stopped answering. "
            "Or it was silent beyond the pod's own deadline."
        ),
        row_text="The cluster's message about the node.",
        remedy="Check the nodes, then resume.",
        retried=Retried.YES,
        resumable=True,
    )
    DEADLINE = Entry(
        word="deadline",
        origin=Origin.BACK_END,
        meaning="The run worked longer than `deadlines` of the cluster file allows.",
        row_text="The name of the deadline.",
        remedy="Raise the deadline that the message names, then resume.",
        resumable=True,
    )
    STALLED = Entry(
        word="stalled",
        origin=Origin.BACK_END,
        meaning="The run lived and made no progress for `deadlines.stallSeconds` or `GREGORY_STALL_AFTER`, or was silent for much longer.",
        row_text="The last progress.",
        remedy="Check the end of the log, and file system and GPU of the node, then resume.",
        resumable=True,
    )
    NO_REPORT = Entry(
        word="no_report",
        origin=Origin.BACK_END,
        meaning="The run exited with code 0 and left no outcome.",
        row_text="The exit code.",
        remedy="Read the log: a foreign entry point, for example of another image, exited with code 0.",
        report_takes_precedence=True,
    )
    LOST = Entry(
        word="lost",
        origin=Origin.BACK_END,
        meaning="The process is gone and left no outcome, or a process on another host was silent too long.",
        row_text="The known facts.",
        remedy="Resume, or train again.",
        resumable=True,
        report_takes_precedence=True,
    )
    NOT_STARTED = Entry(
        word="not_started",
        origin=Origin.START,
        meaning="The run never became a process.",
        row_text="The cause.",
        remedy="Correct the cause that the message names, then train again.",
        resumable=True,
    )
    IMAGE_PULL = Entry(
        word="image_pull",
        origin=Origin.START,
        meaning="The node could not pull the image within `deadlines.imagePullSeconds`.",
        row_text="The registry's message.",
        remedy="Correct `image` or `image.pullSecrets` of the cluster file, then train again.",
    )
    UNSCHEDULABLE = Entry(
        word="unschedulable",
        origin=Origin.START,
        meaning="No node accepted the pod within `deadlines.pendingSeconds`, or a queue held the run for `deadlines.queueSeconds`.",
        row_text="The scheduler's message.",
        remedy="Correct `gpu`, `nodeSelector` or `resources` as the message suggests, or add nodes, then train again.",
    )
    REFUSED = Entry(
        word="refused",
        origin=Origin.START,
        meaning=("The cluster refused the pod or its container: quota, missing ServiceAccount, webhook, or an image without the program."),
        row_text="The cluster's message.",
        remedy="Raise the quota, repair the webhook or create the object that the message names, then train again.",
    )
    MISSING_OBJECT = Entry(
        word="missing_object",
        origin=Origin.START,
        meaning="A Secret, ConfigMap or volume of the pod was missing for `deadlines.imagePullSeconds`.",
        row_text="The name of the missing object.",
        remedy="Create the Secret, ConfigMap or volume that the message names, then train again.",
    )
    ERROR = Entry(
        word="error",
        origin=Origin.TRAINING,
        meaning="Any other failure: a defect, or a refusal by a library.",
        row_text="The whole traceback.",
        remedy="Read the traceback, and repeat the stage by hand.",
        report_takes_precedence=True,
    )


# A reconciler starts another attempt for all open rows.
RETRYABLE = frozenset(reason for reason in Reason if reason.entry.retried is Retried.YES)
# A message offers the resume.
RESUMABLE = frozenset(reason for reason in Reason if reason.entry.resumable)
# The run's own report counts more than the observation of its back end.
REPORT_TAKES_PRECEDENCE = frozenset(reason for reason in Reason if reason.entry.report_takes_precedence)
