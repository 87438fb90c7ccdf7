import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.data import example

names = st.text(min_size=1, max_size=9)
features = st.dictionaries(names, st.lists(st.binary(max_size=300), min_size=1, max_size=4))


@settings(deadline=None)
@given(features)
def test_decode_undoes_encode(value):
    assert example.decode(example.encode(value)) == value


@settings(deadline=None)
@given(features)
def test_protobuf_reads_what_we_write_and_we_what_it_writes(value):
    pb2 = pytest.importorskip("tensorflow_datasets.proto.tf_example_generated_pb2")
    message = pb2.Example.FromString(example.encode(value))
    got = {name: list(f.bytes_list.value) for name, f in message.features.feature.items()}
    assert got == value
    assert example.decode(message.SerializeToString()) == value


def test_order_of_the_names_does_not_change_the_bytes():
    a = {"x": [b"1"], "y": [b"2"]}
    assert example.encode(a) == example.encode(dict(reversed(a.items())))


@settings(deadline=None)
@given(features, st.data())
def test_a_cut_message_is_refused_or_lacks_something(value, data):
    raw = example.encode(value)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with contextlib.suppress(ValueError):
        assert example.decode(cut) != value or not value


def test_lists_of_numbers_are_refused():
    pb2 = pytest.importorskip("tensorflow_datasets.proto.tf_example_generated_pb2")
    message = pb2.Example()
    message.features.feature["x"].int64_list.value.append(3)
    with pytest.raises(ValueError, match="numbers"):
        example.decode(message.SerializeToString())
