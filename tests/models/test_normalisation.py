import pytest

from jaxfacs import models
from jaxfacs.errors import UserError


def test_a_set_s_own_mean_and_deviation_are_given_as_numbers():
    found = models.normalisation("131.1,103.9,91.5/58.4,57.1,57", model="vgg16")
    assert found == ((131.1, 103.9, 91.5), (58.4, 57.1, 57.0))


@pytest.mark.parametrize("text", ["1,2,3/4,5", "1,2/3,4,5", "a,b,c/1,1,1", "1,1,1/0,1,1", "1/2/3"])
def test_numbers_that_are_no_normalisation(text):
    with pytest.raises(UserError, match="R,G,B/R,G,B"):
        models.normalisation(text, model="vgg16")


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UserError, match="no normalisation 'imagnet'; give one of imagenet, caffe"):
        models.normalisation("imagnet", model="vgg16")
