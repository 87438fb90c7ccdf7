"""Several record sets as one: whose labels, in what order, and who must not be in it twice."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import plain_sets as plain
import pytest

from jaxfacs.data.config import NO_AUGMENT, DataConfig, Part
from jaxfacs.data.mixture import open_data
from jaxfacs.data.people import joined, refuse_seen
from jaxfacs.data.pipeline import _order, evaluation_batches, experiment_aus
from jaxfacs.data.records import clip_from_arrays, open_set, write_set
from jaxfacs.errors import UserError

STEPS = 9
FRAMES = 3
# set -> its AUs, its emotions, side of its frames, clips in each split, subjects of each split
SETS = {
    "large": (("1", "12"), ("happy", "anger"), 16, {"train": 20, "validation": 4}),
    "sided": (("L12", "R12", "4"), (), 24, {"train": 5, "validation": 3, "test": 2}),
    "small": (("4", "25"), ("sadness", "happiness"), 32, {"train": 3}),
}


def clip(name: str, split: str, number: int, *, subject: str):
    """The level of grey tells the set and the clip; labels are drawn."""
    aus, emotions, size, _ = SETS[name]
    rng = np.random.default_rng([list(SETS).index(name), number, len(split)])
    grey = 60 * list(SETS).index(name) + 2 * number
    return clip_from_arrays(
        np.full((FRAMES, size, size, 3), grey, np.uint8),
        clip_id=f"{split}{number}",
        subject=subject,
        occurrence_TA=np.tile(rng.integers(0, 2, len(aus)), (FRAMES, 1)).astype(np.int8),
        emotion=number % len(emotions) if emotions else -1,
    )


def write(folder, name: str, *, subject="{split}{number}", rename="", **info):
    aus, emotions, _, counts = SETS[name]
    clips = {
        split: [
            clip(name, split, i, subject=subject.format(split=split, number=i))
            for i in range(count)
        ]
        for split, count in counts.items()
    }
    rename = rename or name
    return write_set(folder / rename, clips, aus=aus, emotions=emotions, name=rename, **info)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    for name in SETS:
        write(folder, name)
    return folder


@pytest.fixture(scope="module")
def config(folder) -> DataConfig:
    return DataConfig(
        mixture=(
            Part(str(folder / "large"), weight=2),
            Part(str(folder / "sided"), loss_weight=0.25),
            Part(str(folder / "small"), loss_weight=3.0),
        ),
        frames=2,
        size=16,
        batch_size=8,
        threads=2,
        seed=5,
        augment=replace(NO_AUGMENT, flip=0.5),
    )


def take(config, steps=STEPS, **options):
    return plain.batches(config, steps, **options)


def column(batches, key):
    return np.concatenate([batch[key] for batch in batches])


def parts(config, **changes):
    """The config with the parts' fields replaced: field -> one value a part."""
    columns = [
        replace(part, **{key: values[i] for key, values in changes.items()})
        for i, part in enumerate(config.mixture)
    ]
    return replace(config, mixture=tuple(columns))


# Labels


def test_aus_and_emotions_are_joined_under_one_name_each(config):
    data = open_data(config)
    assert data.aus == experiment_aus(config, data) == ("1", "4", "12", "25")
    assert data.emotions == ("happiness", "anger", "sadness")
    assert data.names == tuple(SETS)


def test_each_row_has_the_labels_of_its_record_and_nothing_of_what_its_set_does_not_code(config):
    data = open_data(config)
    aus = ("1", "12", "L12", "4", "25")
    index = data.index("train")
    seen = set()
    for batch in take(replace(config, aus=aus, augment=NO_AUGMENT)):
        for i, number in enumerate(batch["index_B"].tolist()):
            place = int(batch["set_B"][i])
            name, records = data.names[place], data.records[place]
            own = number - int((index["set_N"] < place).sum())
            stored = records.clip("train", own)
            columns = dict(zip(records.aus, stored.occurrence_TA[0].tolist(), strict=True))
            wanted = [columns.get(au, -1) for au in aus]
            if name == "sided":
                wanted[1] = max(columns["L12"], columns["R12"])
            if name == "large" and columns["12"] == 0:
                wanted[2] = 0  # who shows no 12 shows none on the left
            assert batch["occurrence_BTA"][i].tolist() == [wanted] * 2, name
            said = batch["emotion_B"][i]
            theirs = records.emotions[stored.emotion] if stored.emotion >= 0 else None
            assert (None if said < 0 else data.emotions[said]) == {"happy": "happiness"}.get(
                theirs, theirs
            )
            assert data.persons[batch["subject_B"][i]] == (name, stored.subject)
            assert batch["weight_B"][i] == config.mixture[place].loss_weight
            grey = batch["frames_BTHWC"][i].mean()
            assert abs(grey - (60 * place + 2 * own)) < 2  # frames of 24 and 32 pixels are resized
            seen.add(name)
    assert seen == set(SETS)


def test_statistics_are_over_the_sets_that_code_an_au(config):
    data = open_data(config)
    found = data.statistics("train", aus=("1", "4", "25"))
    assert found.known_A.tolist() == [20 * FRAMES, 8 * FRAMES, 3 * FRAMES]
    alone = [open_set(config.mixture[i].source).statistics("train", aus=("4",)) for i in (1, 2)]
    assert found.positive_A[1] == sum(s.positive_A[0] for s in alone)
    assert (found.clips, found.frames) == (28, 28 * FRAMES)


def test_one_source_is_a_mixture_of_one(config):
    source = config.mixture[0].source
    data, records = open_data(replace(config, mixture=(), source=source)), open_set(source)
    assert (data.digest, data.aus, data.emotions) == (records.digest, records.aus, records.emotions)
    assert [name for _, name in data.persons] == list(records.subject_names)
    index = data.index("train")
    for key in ("length_N", "subject_N", "emotion_N"):
        np.testing.assert_array_equal(index[key], records.index("train")[key])


# Order


def test_shares_are_kept_in_every_batch_and_each_set_goes_round_at_its_own_pace(config):
    batches = take(config, 10)
    for batch in batches:
        assert np.bincount(batch["set_B"], minlength=3).tolist() == [4, 2, 2]
    for place, (first, count) in enumerate(((0, 20), (20, 5), (25, 3))):
        numbers = column(batches, "index_B")[column(batches, "set_B") == place]
        order = [numbers[i : i + count] for i in range(0, len(numbers), count)]
        whole = [set(part.tolist()) for part in order if len(part) == count]
        if place:  # inside a batch the order is new, so a round ends where a batch does
            counts = np.bincount(numbers - first, minlength=count)
            assert counts.max() - counts.min() <= 1
        assert len(whole) >= 2
    numbers = column(batches, "index_B")[column(batches, "set_B") == 0]
    assert sorted(numbers[:20]) == sorted(numbers[20:]) == list(range(20))
    assert (numbers[:20] != numbers[20:]).any()


@pytest.mark.parametrize("start", [0, 10**9 + 7])
def test_no_clip_is_left_out_or_met_twice_in_a_round(start):
    """Shares that no fraction of small numbers gives, early and late."""
    rng, counts, batch_size = np.random.default_rng(start), (7, 30, 1, 11, 200), 13
    shares = rng.dirichlet(np.ones(5))
    first = np.cumsum([0, *counts])
    order = _order(DataConfig(batch_size=batch_size), first.tolist(), shares.tolist())
    begin = start // batch_size * batch_size
    drawn = np.array([order[i] for i in range(begin, begin + 300 * batch_size)])
    place = np.searchsorted(first, drawn, side="right") - 1
    per_batch = np.stack([np.bincount(p, minlength=5) for p in place.reshape(300, batch_size)])
    assert np.abs(per_batch - batch_size * shares).max() < 2
    for p, count in enumerate(counts):
        met = np.bincount(drawn[place == p] - first[p], minlength=count)
        assert len(met) == count  # the window cuts one round at its beginning and one at its end
        assert met.max() - met.min() <= (1 if start == 0 else 2)


@pytest.mark.parametrize(
    ("by", "weights", "shares"),
    [
        ("set", (1, 1, 1), (1 / 3, 1 / 3, 1 / 3)),
        ("clip", (1, 1, 1), (20 / 28, 5 / 28, 3 / 28)),
        ("clip", (1, 2, 0), (20 / 30, 10 / 30, 0)),
        ("set", (0.7, 0.05, 0.25), (0.7, 0.05, 0.25)),
    ],
)
def test_weights_are_of_a_set_or_of_its_clips(config, by, weights, shares):
    batches = take(replace(parts(config, weight=weights), mixture_by=by), 25)
    found = np.bincount(column(batches, "set_B"), minlength=3)
    np.testing.assert_allclose(found, 200 * np.array(shares), atol=2)  # a count, not a draw


def test_a_set_of_weight_0_is_measured_on_and_lends_no_labels(config):
    held = parts(config, weight=(0, 1, 1))
    data = open_data(held)
    assert data.aus == ("4", "12", "25") and data.emotions == ("sadness", "happiness")
    assert set(column(take(held, 3), "set_B")) == {1, 2}
    assert data.statistics("train", aus=("1",)).known_A.tolist() == [0]
    assert set(column(list(evaluation_batches(held, "validation")), "set_B")) == {0, 1}


@pytest.mark.parametrize("start", [1, 4])
def test_resuming_at_a_step_continues_the_straight_run(config, start):
    plain.same(take(config, STEPS - start, start_step=start), take(config)[start:])


def test_two_processes_see_the_batches_of_one_and_each_has_every_set(config):
    even = parts(config, weight=(1, 1, 0))  # every second place is the first set's
    straight = take(even)
    shares = [take(even, process_index=p, process_count=2) for p in range(2)]
    for i, whole in enumerate(straight):
        for key, value in whole.items():
            rows = np.concatenate([s[i][key] for s in shares])
            np.testing.assert_array_equal(rows, value, err_msg=key)
    for share in shares:
        assert 0.25 < (column(share, "set_B") == 0).mean() < 0.75


def test_threads_change_nothing(config):
    plain.same(take(replace(config, threads=5), 4), take(config, 4))


@pytest.mark.slow
def test_a_worker_process_changes_nothing(config):
    plain.same(take(replace(config, workers=1), 4), take(config, 4))


def test_another_seed_is_another_order(config):
    other = take(replace(config, seed=6), 2)
    assert (column(other, "index_B") != column(take(config, 2), "index_B")).any()


# Balance


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory):
    """Two sets of 12 clips: AU 4 is in the first clip of the first alone; subjects a, b and ""."""
    folder = tmp_path_factory.mktemp("lopsided")
    for name, label in (("first", "4"), ("second", "12")):
        clips = [
            clip_from_arrays(
                np.zeros((1, 8, 8, 3), np.uint8),
                clip_id=str(i),
                subject="a" if i == 0 else "b" if i < 10 else "",
                occurrence_TA=np.array([[label == "12" or i == 0, i != 0]], np.int8),
            )
            for i in range(12)
        ]
        write_set(folder / name, {"train": clips}, aus=(label, "25"), name=name)
    sources = tuple(Part(str(folder / name)) for name in ("first", "second"))
    return DataConfig(mixture=sources, frames=1, size=8, batch_size=8, augment=NO_AUGMENT)


def test_a_rare_au_is_shown_more_and_the_sets_keep_their_shares(lopsided):
    plainly, often = (
        np.bincount(column(take(c, 24), "index_B"), minlength=24)
        for c in (lopsided, replace(lopsided, balance=1.0))
    )
    assert plainly[:12].sum() == often[:12].sum() == 96
    # AU 4 is in 1 of 24 of what is drawn, AU 25 in 22: the clip with 4 weighs 22 of the others.
    expected = 96 * 22 / (22 + 11)
    assert abs(often[0] - expected) < 5 * np.sqrt(expected)
    assert plainly[0] == 8


def test_subjects_come_equally_often_and_unknown_ones_are_each_their_own(lopsided):
    config = replace(lopsided, balance_subjects=1.0)
    batches = take(config, 24)
    found = np.bincount(column(batches, "index_B"), minlength=24).reshape(2, 12)
    for counts in found:  # a, b and two that nobody knows: a quarter each
        for group in (counts[:1], counts[1:10], counts[10:11], counts[11:]):
            assert abs(group.sum() - 24) < 5 * np.sqrt(24 * 3 / 4)
    plain.same(take(config, 2, start_step=3), batches[3:5])


# Evaluation


def test_every_clip_of_every_set_is_measured_once_with_weight_1(config):
    data = open_data(config)
    batches = list(evaluation_batches(config, "validation", batch_size=4))
    real = column(batches, "weight_B") > 0
    pairs = list(zip(column(batches, "index_B")[real], column(batches, "start_B")[real],
                     strict=True))  # fmt: skip
    assert sorted(pairs) == [(i, start) for i in range(7) for start in (0, 2)]
    assert (column(batches, "weight_B")[real] == 1).all()
    sets = dict(zip(column(batches, "index_B")[real], column(batches, "set_B")[real], strict=True))
    assert [sets[i] for i in range(7)] == [0] * 4 + [1] * 3  # the third has no such split
    assert data.clips("validation") == 7 and data.clips("test") == 2
    assert not data.has_split("none")


def test_a_part_may_call_its_splits_otherwise(config):
    renamed = parts(config, validation_split=("", "test", "train"), weight=(1, 1, 0))
    data = open_data(renamed)
    assert [m.split for m in data.members("validation")] == ["validation", "test", "train"]
    assert [m.split for m in data.members("train")] == ["train", "train"]


def test_emotions_of_a_trained_network_are_found_by_name(config):
    source = replace(config, mixture=(), source=config.mixture[0].source)
    data = open_data(source, emotions=("sadness", "angry", "happiness"))
    assert data.emotion_places(data.records[0]).tolist() == [2, 1, -1]


# Leakage


def crossed(folder, **second) -> DataConfig:
    """Two sets of one group of people; the second is learned from where the first is measured."""
    write(folder, "sided", people="club")
    write(folder, "sided", rename="again", **{"people": "club", **second})
    turned = Part(str(folder / "again"), train_split="validation", validation_split="train")
    return DataConfig(mixture=(Part(str(folder / "sided")), turned))


def check(config):
    data = open_data(config)
    data.refuse_overlap(data.seen())


def test_a_person_who_is_learned_from_is_not_measured_on(tmp_path):
    config = crossed(tmp_path)
    with pytest.raises(UserError, match="subjects validation0, validation1, validation2 of again"):
        check(config)
    with pytest.raises(UserError, match=r"'validation' of sided .* --data\.allow-overlap True"):
        check(config)
    check(replace(config, allow_overlap=True))
    straight = replace(config.mixture[1], train_split="", validation_split="")
    check(replace(config, mixture=(config.mixture[0], straight)))  # the same people, the same split


def test_one_set_is_not_measured_where_it_was_learned_from(folder):
    config = DataConfig(source=str(folder / "large"), validation_split="train")
    with pytest.raises(UserError, match="and 15 more of large were learned from"):
        check(config)
    check(replace(config, validation_split="validation"))


@pytest.mark.parametrize(
    "second", [{"people": "others"}, {"subject": ""}, {"subject": "x{split}{number}"}]
)
def test_others_of_the_same_name_and_subjects_that_nobody_knows_are_not_the_same(tmp_path, second):
    check(crossed(tmp_path, **second))


def test_sets_that_overlap_without_saying_in_whom(folder):
    large, sided = open_set(folder / "large"), open_set(folder / "sided")
    card = {**sided.card, "overlaps": ["large"]}
    marked = dataclasses.replace(sided, card=card)
    for taught, held in ((large, marked), (marked, large)):
        seen = json.loads(json.dumps(seen_of(taught)))
        with pytest.raises(UserError, match=r"give --x") as error:
            refuse_seen(seen, [(held, "validation")], remedy="give --x")
        assert "large" in str(error.value) and "sided" in str(error.value)
    refuse_seen(seen_of(marked), [(marked, "validation")], remedy="")  # a set is not its own rival
    refuse_seen(seen_of(sided), [(large, "validation")], remedy="")


def seen_of(records):
    from jaxfacs.data.people import seen_in

    return seen_in([(records, "train")])


def test_who_was_seen_adds_up():
    a = {"s": {"people": "p", "subjects": ["1", "2"], "overlaps": []}}
    b = {"s": {"people": "p", "subjects": ["2", "3"], "overlaps": ["t"]}}
    assert joined(a, b) == {"s": {"people": "p", "subjects": ["1", "2", "3"], "overlaps": ["t"]}}
    assert joined(a, {}) == a


# Bad input


def test_a_source_and_a_mixture(config):
    with pytest.raises(UserError, match=r"data\.source \(x\) and data\.mixture are both given"):
        replace(config, source="x")


def test_parts_of_one_name(config):
    twice = replace(config, mixture=(*config.mixture, config.mixture[0]))
    with pytest.raises(UserError, match="named 'large'; give one of them another name"):
        open_data(twice)
    named = (*config.mixture, replace(config.mixture[0], name="other"))
    assert open_data(replace(config, mixture=named)).names[-1] == "other"


def test_a_part_to_learn_from_must_have_the_split(config):
    renamed = parts(config, train_split=("", "", "validation"))
    with pytest.raises(UserError, match="small has no split 'validation'; it has: train"):
        open_data(renamed).members("train")


def test_a_split_that_no_set_has(config):
    with pytest.raises(UserError, match="no split 'dev'"):
        next(evaluation_batches(config, "dev"))


@pytest.mark.parametrize("options", [{"weight": -1}, {"weight": float("nan")}, {"loss_weight": -2}])
def test_impossible_parts(options):
    with pytest.raises(UserError, match=next(iter(options))):
        Part("x", **options)


def test_impossible_mixtures():
    with pytest.raises(UserError, match="weight 0"):
        DataConfig(mixture=(Part("x", weight=0),))
    with pytest.raises(UserError, match="exceed 1"):
        DataConfig(balance=0.6, balance_subjects=0.6)
    with pytest.raises(UserError, match="balance_subjects"):
        DataConfig(balance_subjects=-0.1)


def test_plain_sets_are_still_read_by_their_path(small_set):
    assert open_data(DataConfig(source=str(small_set))).names == ("plain",)
    assert open_data(DataConfig(source=str(small_set))).aus == plain.AUS
