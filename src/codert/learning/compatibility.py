"""Whether what a plan joins fits together: what its types cannot say."""

from codert.config import build
from codert.data.features import FeatureConfig
from codert.errors import InputError, PlanError
from codert.learning.edges import Edge
from codert.learning.plan import PARTS, Part, Plan
from codert.models import RecogniserConfig
from codert.models.folder import Card


def check(plan: Plan, where: str) -> None:
    """What types cannot say of a plan read from a file; raises InputError."""
    for name, member in plan.recognisers.items():
        if member.model is not None and member.model not in plan.models:
            raise InputError(
                f"{where}: recognisers.{name}.model is {member.model!r}; "
                f"known under models: {', '.join(plan.models)}"
            )
    if not plan.live:
        raise InputError(f"{where}: recognisers: none of them learns; give one a model")
    for name, average in plan.averages.items():
        if average.of not in plan.live:
            raise InputError(
                f"{where}: recognisers.{name}.average.of is {average.of!r}; "
                f"those that learn: {', '.join(plan.live)}"
            )
    for i, edge in enumerate(plan.edges):
        _check_edge(plan, edge, f"{where}: edges[{i}]")
    for name in {**plan.frozen, **plan.averages} if plan.edges else ():
        if all(edge.teacher != name for edge in plan.edges):
            teachers = dict.fromkeys(edge.teacher for edge in plan.edges)
            raise InputError(
                f"{where}: recognisers.{name} teaches nobody; edges are from {', '.join(teachers)}"
            )
    if plan.data.untranscribed and all(map(plan.is_upward, plan.edges)):
        raise InputError(
            f"{where}: data.untranscribed is true, but nobody teaches from speech without a "
            "transcript (an edge from a student to its teacher does not); add an edge, or remove it"
        )
    for name in plan.cached:
        _check_cached(plan, name, where)
    if plan.share:
        _check_shared(plan, where)
    _check_kept(plan, where)


def _check_edge(plan: Plan, edge: Edge, where: str) -> None:
    for key, end in (("from", edge.teacher), ("to", edge.student)):
        if end not in plan.recognisers:
            raise InputError(
                f"{where}.{key} is {end!r}; known under recognisers: {', '.join(plan.recognisers)}"
            )
    if edge.student not in plan.live:
        what = "frozen" if edge.student in plan.frozen else "an average"
        raise InputError(
            f"{where}.to is {edge.student!r}, which is {what} and cannot learn; "
            "give it a model, or turn the edge round"
        )
    if edge.gradient == "both" and edge.teacher not in plan.live:
        what = "frozen" if edge.teacher in plan.frozen else "an average"
        raise InputError(
            f"{where}.gradient is 'both', but {edge.teacher!r} is {what}; write student"
        )
    for end in (edge.teacher, edge.student):
        if end in plan.made:
            check_heads(plan.made[end], plan.training.ctc_weight, where, end, edge)
    if edge.teacher in plan.made:
        check_frame_rates(plan.made[edge.teacher], plan.live[edge.student], where, edge)
    _check_learns(plan, edge, where)


def _check_learns(plan: Plan, edge: Edge, where: str) -> None:
    """Raises InputError where an edge reaches nothing of its student that learns."""
    parts = _parts_read(plan, edge)
    shared = "decoder" in plan.share and edge.teacher in plan.live
    if shared and parts == {"decoder"}:
        raise InputError(
            f"{where}.match is {edge.match!r}, but {edge.teacher!r} and "
            f"{edge.student!r} share their decoder; match something else, or share nothing"
        )
    kept = parts & set(plan.recognisers[edge.student].keep)
    if edge.gradient == "student" and not _parts_taught(plan, edge):
        named = " and ".join(part.replace("_", " ") for part in PARTS if part in kept)
        raise InputError(
            f"{where}.match is {edge.match!r}, but {edge.student!r} keeps its {named}; "
            f"match something else, or take {'it' if len(kept) == 1 else 'them'} out of keep"
        )


def _parts_read(plan: Plan, edge: Edge) -> set[Part]:
    """Those of its student that an edge reads and that have weights."""
    read = {of.removesuffix("_head") for of in edge.reads}
    has_front_end = plan.live[edge.student].encoder.front_end.strides
    parts: set[Part] = {"decoder"} if "decoder" in read else set()
    if "encoder" in read:
        parts |= {"front_end", "encoder"} if has_front_end else {"encoder"}
    return parts


def _parts_taught(plan: Plan, edge: Edge) -> set[Part]:
    """Those of its student that an edge's gradient reaches."""
    taught = _parts_read(plan, edge) - set(plan.recognisers[edge.student].keep)
    if edge.gradient == "student" and "decoder" in plan.share and edge.teacher in plan.live:
        taught -= {"decoder"}  # it is the teacher's as well
    return taught


def check_decoders(plan: Plan, where: str) -> None:
    """Raises InputError where speech without any text would leave a decoder as it is drawn."""
    taught = {plan.owner(each.student, "decoder") for each in plan.edges if _trains(plan, each)}
    for name in plan.live:
        if plan.owner(name, "decoder") in taught or "decoder" in plan.begun(name):
            continue
        listens = any(edge.student == name for edge in plan.edges)
        mend = "write match: lattice" if listens else "let an edge teach it, or freeze it"
        raise InputError(
            f"{where}: no utterance of split train has a text, and no edge teaches the decoder of "
            f"{name!r}; {mend}, give it start.decoder, or some texts"
        )


def _trains(plan: Plan, edge: Edge) -> bool:
    """Whether an edge makes a decoder of its student's, where nothing else does."""
    # A head is the decoder itself where the joint has none; of a centred gauge it learns a mean.
    is_it = not plan.live[edge.student].has_heads and edge.reads == {"decoder_head"}
    reads = "decoder" in edge.reads or is_it
    reached = "decoder" in _parts_taught(plan, edge)
    return bool(edge.weight) and reads and reached and not plan.is_upward(edge)


def check_features(card: Card, plan: Plan, where: str) -> None:
    """Raises PlanError where a recogniser hears other features than the plan makes."""
    heard = build(FeatureConfig, card.features, where, "features")
    if heard != plan.features:
        raise PlanError(
            f"{where}: it hears {heard} and the plan makes {plan.features}; "
            "set features as it was trained with"
        )


def check_heads(
    config: RecogniserConfig, ctc_weight: float, where: str, name: str, edge: Edge
) -> None:
    """Raises PlanError where an edge matches what comes from a head that no loss trains."""
    if not config.has_heads or config.joint.head_weight:
        return
    heads = edge.reads & {"encoder_head", "decoder_head"}
    # CTC trains the encoder's.
    if untrained := heads - ({"encoder_head"} if ctc_weight else set()):
        part = "encoder" if "encoder_head" in untrained else "decoder"
        by_ctc = " or training.ctc_weight" if heads == {"encoder_head"} else ""
        raise PlanError(
            f"{where}: the {part} logits of {name!r} come from a head that no loss trains; train "
            f"it with joint.head_weight{by_ctc} above 0, or write match: lattice, which reads no "
            "heads"
        )


def check_frame_rates(
    teacher: RecogniserConfig, student: RecogniserConfig, where: str, edge: Edge
) -> None:
    """Raises PlanError where an edge cannot join the frame rates of its two ends."""
    of_teacher, of_student = teacher.encoder.subsampling, student.encoder.subsampling
    multiple = edge.rates == "multiple"
    if edge.rates != "any" and (of_student % of_teacher if multiple else of_student != of_teacher):
        mend = ", or the student a multiple of its teacher's" if multiple else ""
        raise PlanError(
            f"{where}: {edge.teacher!r} has one frame for {of_teacher} of the features' and "
            f"{edge.student!r} one for {of_student}, and the edge matches {edge.match}; "
            f"give both encoders the same subsampling{mend}"
        )


def _check_cached(plan: Plan, name: str, where: str) -> None:
    for key in ("noise", "spec_augment"):
        if getattr(plan.data, key) is not None:
            raise InputError(
                f"{where}: recognisers.{name}.cached: with data.{key} no two epochs hear the same; "
                f"remove one of the two (data.speeds may stay)"
            )
    for i, edge in enumerate(plan.edges):
        if edge.teacher == name and edge.layer != -1:
            raise InputError(
                f"{where}: edges[{i}].teacher_layer is {edge.layer}, and of {name!r} the "
                "last layer alone is cached; write -1, or remove cached"
            )


def _check_shared(plan: Plan, where: str) -> None:
    (first, config), *others = plan.live.items()
    if not others:
        raise InputError(f"{where}: share: only {first!r} learns; remove share, or add another")
    if "front_end" in plan.share and not config.encoder.front_end.strides:
        raise InputError(
            f"{where}: share: the front end of {first!r} has no convolutions and so no weights; "
            "remove front_end"
        )
    for name, other in others:
        for part, mine, theirs in (
            ("front_end", config.encoder.front_end, other.encoder.front_end),
            ("decoder", (config.predictor, config.joint), (other.predictor, other.joint)),
        ):
            if part in plan.share and mine != theirs:
                raise InputError(
                    f"{where}: share: the {part} of {first!r} is {mine} and that of {name!r} is "
                    f"{theirs}; what is shared must be equal"
                )
    for part in plan.share:
        folders = {m.start[part] for m in plan.recognisers.values() if part in m.start}
        if len(folders) > 1:
            raise InputError(
                f"{where}: share: the {part} is to start from {' and '.join(sorted(folders))}; "
                "name one of them"
            )


def _check_kept(plan: Plan, where: str) -> None:
    started = {(plan.owner(n, part), part) for n in plan.live for part in plan.recognisers[n].start}
    for name, config in plan.live.items():
        member = plan.recognisers[name]
        for part in member.keep:
            if (plan.owner(name, part), part) in plan.kept - started:
                raise InputError(
                    f"{where}: recognisers.{name}: keep: the {part} would stay as it is drawn; "
                    f"add start.{part}, or share it with another that trains it"
                )
        weighty = [p for p in PARTS if p != "front_end" or config.encoder.front_end.strides]
        if all(part in member.keep for part in weighty):
            raise InputError(
                f"{where}: recognisers.{name}.keep: nothing of it would learn; "
                "write frozen: RUN in place of model, start and keep"
            )
