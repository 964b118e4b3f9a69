"""The tokenizer: CLIP's, but for the word that gives its id to the mask."""

import open_clip
import pytest
import torch

from training.tokens import END, MASK, START, CaptionTokenizer, end_positions, trim, word_positions


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    return CaptionTokenizer()


def test_captions_encode_as_clip_does(tokenizer: CaptionTokenizer) -> None:
    texts = [
        "A man in a red coat & black/navy trousers, walking.",
        "Crème-coloured hat   (size 42)",
        "x &lt; y ✓",
    ]
    assert torch.equal(tokenizer.encode(texts), open_clip.SimpleTokenizer()(texts))


def test_jekyll_is_pieces_and_never_the_mask(tokenizer: CaptionTokenizer) -> None:
    assert open_clip.SimpleTokenizer().encode("jekyll") == [MASK]
    ids = tokenizer.encode(["Dr. Jekyll, jekylls, JEKYLL"])
    assert not ids.eq(MASK).any()
    assert tokenizer.decode(ids[0]) == "dr . jekyll , jekylls , jekyll"


def test_other_tokenizers_keep_their_word(tokenizer: CaptionTokenizer) -> None:
    tokenizer.encode(["jekyll"])
    assert open_clip.SimpleTokenizer().encode("jekyll") == [MASK]


def test_truncation_keeps_the_end_token_at_76(tokenizer: CaptionTokenizer) -> None:
    long, exact = tokenizer.encode(["red " * 200, "red " * 75])
    assert torch.equal(long, exact)
    assert long[76] == END
    assert long[75] == exact[1]


@pytest.mark.parametrize("caption", ["", "   \n\t"])
def test_empty_captions_are_start_and_end(tokenizer: CaptionTokenizer, caption: str) -> None:
    assert tokenizer.encode([caption])[0].tolist() == [START, END] + [0] * 75


def test_no_captions_is_an_empty_batch(tokenizer: CaptionTokenizer) -> None:
    assert tokenizer.encode([]).shape == (0, 77)


def test_one_string_is_refused(tokenizer: CaptionTokenizer) -> None:
    with pytest.raises(TypeError, match="captions"):
        tokenizer.encode("a man")


@pytest.mark.parametrize("marker", ["<end_of_text>", "<START_of_text>", "&lt;end_of_text&gt;"])
def test_markers_in_a_caption_are_not_tokens(tokenizer: CaptionTokenizer, marker: str) -> None:
    ids = tokenizer.encode([f"a man {marker} in red"])[0]
    assert ids.tolist() == tokenizer.encode(["a man in red"])[0].tolist()


def test_pieces_name_every_position(tokenizer: CaptionTokenizer) -> None:
    ids = tokenizer.encode(["a Jekyll hat"])[0]
    ids[1] = MASK
    assert tokenizer.pieces(ids) == ["<start>", "<mask>", "jeky", "ll", "hat", "<end>"]
    assert tokenizer.decode(ids) == "<mask> jekyll hat"


def test_spans_cut_the_caption_into_its_pieces(tokenizer: CaptionTokenizer) -> None:
    text, spans = tokenizer.spans("A  Jekyll's coat, crème")
    assert [text[start:end] for start, end in spans] == [
        "a",
        "jeky",
        "ll",
        "'s",
        "coat",
        ",",
        "cr",
        "è",
        "me",
    ]
    assert len(spans) == int(end_positions(tokenizer.encode(["A  Jekyll's coat, crème"]))[0]) - 1


def test_spans_stop_where_the_context_does(tokenizer: CaptionTokenizer) -> None:
    assert len(tokenizer.spans("red " * 200)[1]) == 75


def test_positions_and_trim() -> None:
    ids = torch.tensor([[START, 5, END, 0, 0, 0], [START, 5, 6, END, 0, 0]])
    assert end_positions(ids).tolist() == [2, 3]
    assert word_positions(ids).sum(dim=1).tolist() == [1, 2]
    assert torch.equal(trim(ids), ids[:, :4])
