"""The validator: good captions of every style pass, and what is none is named by its reason."""

import pytest

from curation.validate import CaptionLimits, Validator
from pipeline.reasons import Reason
from pipeline.templates import PLACEHOLDERS, fill, load_library, packaged_libraries
from world.captions import SLOTS, write_caption
from world.people import draw_identities
from world.truth import Lie

VALIDATOR = Validator(CaptionLimits())
GOOD = [
    "A woman with short black hair is wearing a red sweater, blue jeans and white sneakers.",
    "The man wears a dark blue suit over a white shirt, with black shoes; he carries a brown briefcase.",
    "In white sneakers and a knee-length green dress, the woman walks with a handbag over her left shoulder.",
    "This person has on a T-shirt with a dark background print, grey shorts and sandals.",
    'He wears a black T-shirt that says "Born to Run" and faded jeans.',
    "Seen from behind, a man in a grey hoodie has both hands in his pockets.",
    "A slim girl with a ponytail. She wears a pink top, a denim skirt and pink shoes. Her bag is white.",
    "Walking, a heavyset man in a beige trench coat, brown trousers and brown shoes holds an umbrella.",
    "Striped blue-and-white shirt, khaki shorts and a straw hat are worn by the man on the left.",
    "A young man wears a New York Yankees cap, a navy jacket and black jeans.",
    "The woman's off-white blouse is tucked into high-waisted black trousers; her heels are red.",
    "A man in an open plaid shirt over a light tee, with a wristwatch and a backpack at his shoulders.",
    "She's wearing a long-sleeved, floor-length dress in burgundy, and her hair is in a bun.",
    "A cyclist's red helmet, a yellow vest and black leggings mark out this woman.",
    "The person stands with a smartphone in the right hand, in a might-green parka and dark trousers.",
    "A woman in a light blue background-patterned shirt, grey jeans and boots.",
    'A man in a T-shirt reading "Mark" and dark jeans stands with crossed arms.',
    "He wears a T-shirt reading 'Mark', shorts and black trainers.",
    "A woman wears a white T-shirt with the word LOVE across the chest and blue jeans.",
    "A man in a Nike hoodie, grey sweatpants and Adidas trainers is jogging.",
    "A woman carries a Louis Vuitton handbag and wears a beige coat.",
    "A boy in a Los Angeles Lakers jersey and black shorts holds a basketball.",
    'A person in a jacket that reads "Security" walks with a radio.',
    "The woman's hair is tied up, as is the scarf around her neck.",
    "With her left hand raised, the woman in a red dress shows a bracelet.",
    "A man with a long beard, wearing a turban and a white kurta, holds a bag.",
    "A woman in a saree of orange and gold, with bangles on both wrists.",
    "A man in a hi-vis vest, a hard hat and steel-toed boots carries a toolbox.",
    "A woman in 3/4-length leggings and a loose white top is running.",
    "A man in size-wise oversized clothes: a grey hoodie, baggy jeans and sneakers.",
    "Young man, short brown hair, wearing a navy polo shirt and khaki chinos.",
    "Wearing a navy polo shirt and khaki chinos, he has short brown hair.",
    "Her outfit consists of a cropped denim jacket, a white tee, and a black mini skirt.",
    "The child wears a yellow raincoat and green rubber boots.",
    "A woman is wearing a two-piece suit; the jacket is grey, as are the trousers.",
    "The man has a moustache, a goatee and round glasses; his coat is brown.",
    "A lady in a Hawaiian shirt, white shorts and a straw hat is smiling.",
    "A woman in a French beret, a striped Breton top and a black skirt.",
    "The person in a Santa Claus hat wears a red jacket and black boots.",
    "A man in a Superman T-shirt, blue jeans and white trainers is standing.",
    "A man in a Harley Davidson leather vest, jeans and black boots.",
    "A woman with an Apple Watch on her wrist wears a grey running top.",
    "Her Doc Martens boots are black, and her tights are dark red.",
    "A woman wears a light pink blouse, i.e. with puffed sleeves, and jeans.",
    "A man in a white No. 7 jersey and black shorts is running.",
    "A tall man in a three-piece suit (dark grey) with a red tie.",
    "A man wears a backpack over both shoulders, with the straps in orange.",
    "She has a dark background floral print on her dress and white sandals.",
    "A woman in jeans, a white blouse, and a cardigan; a camera hangs from her neck.",
    "A person in black from head to toe, with a white bag.",
    "A man in camouflage trousers, a khaki T-shirt and combat boots.",
    "Dark-haired woman, black-and-white checked coat, black boots, red handbag.",
    "An elderly woman with white hair leans on a cane; she wears a purple cardigan.",
    "The man's T-shirt shows a mountain scene in blue and his shorts are grey.",
    "A woman wearing a dress with a street-art print and white sneakers.",
    "A man in an image-print T-shirt and jeans carries a skateboard.",
    "The woman is seen in profile, in a green parka with a fur-trimmed hood.",
    "A girl in a school uniform: white shirt, tartan skirt, knee socks and loafers.",
    "A café-au-lait coloured coat covers the woman, who wears brown boots.",
    "A naïve-style print decorates her white T-shirt; her jeans are blue.",
    "She wears jeans and a T-shirt and a cap and a scarf and a coat and a bag.",
    "He wears a black jacket, black trousers, black shoes and a black cap.",
    "A woman in a red top with a red bag and red shoes is walking.",
    "A man, his hands in the pockets of his grey coat, wears a black hat.",
    "A slim person with short hair wears a white shirt tucked into blue jeans.",
    "In her right hand the woman holds a phone; a tote bag hangs on her left arm.",
    "Sporting a grey beanie, a puffer jacket and jeans, a man is walking.",
    "A mid-length skirt, a tucked-in shirt and ankle boots make up what she wears.",
    "A man with tattoos on both arms wears a tank top and board shorts.",
    'The woman wears jeans with a rip at the knee and a T-shirt marked "NYC".',
    "A person is dressed in a long white coat, like a doctor's, and clogs.",
    "Both his sweater and his trousers are dark; only his shoes are light.",
    "Her likely-new white sneakers stand out under black leggings and a grey top.",
    "A may-green jacket, a white skirt and green shoes are worn by the woman.",
    "A man in a Hugo Boss suit and black leather shoes carries a laptop bag.",
    "She wears a Calvin Klein T-shirt, blue jeans and brown sandals.",
    "A woman in a jacket with the North Face logo, black leggings and boots.",
    'A woman in a "Black Lives Matter" T-shirt and jeans holds a sign.',
    "A person wearing Ray Ban sunglasses, a white shirt and shorts.",
    "In Air Jordan sneakers, black joggers and a red hoodie, a man is walking.",
    "The man sports Levi Strauss jeans, a belt and a white T-shirt.",
    "With Beats Studio headphones around his neck, he wears a grey hoodie.",
    '"Love" is written on her T-shirt and "Peace" on her bag.',
    "A print on a plain background marks his shirt; the trousers are grey.",
    "Young man, short brown hair, navy polo shirt, khaki chinos, white trainers.",
    "A man in a red coat walks in the rain with a bag.",
    "The president wears a dark suit and a blue tie.",
    '"Love" is written on her T-shirt, and on her bag "Peace"',
    "Red-haired man, blue-grey parka, off-white trousers, brown-soled boots.",
    "Slim man, knitted jumper, blue-striped scarf, woollen trousers, leather boots, tote bag, umbrella.",
]
BAD = [
    ("", Reason.CAPTION_EMPTY),
    (" \n\t ", Reason.CAPTION_EMPTY),
    ("A [person] in [colored top] and blue jeans walks.", Reason.CAPTION_PLACEHOLDER),
    ("A woman in a red coat] and black boots walks.", Reason.CAPTION_PLACEHOLDER),
    ("**A woman** in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("# A woman in a red sweater and blue jeans", Reason.CAPTION_MARKUP),
    ("- A woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("1. A woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("<p>A woman in a red sweater and blue jeans.</p>", Reason.CAPTION_MARKUP),
    ("`A woman in a red sweater and blue jeans walks.`", Reason.CAPTION_MARKUP),
    ('"A woman in a red sweater and blue jeans walks."', Reason.CAPTION_MARKUP),
    ("Caption: a woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("A woman in a red sweater and blue jeans walks 😀.", Reason.CAPTION_MARKUP),
    ("A woman in a red\x00 sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("A woman in a red\x1b sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("A woman in a red\u202e sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("See https://example.com for a woman in a red sweater.", Reason.CAPTION_MARKUP),
    ("I'm sorry, but I can't help with identifying the person.", Reason.CAPTION_REFUSED),
    ("I’m unable to describe the person in a red sweater.", Reason.CAPTION_REFUSED),
    ("As an AI, I see a woman in a red sweater and blue jeans.", Reason.CAPTION_REFUSED),
    ("The image does not show a person in a red sweater.", Reason.CAPTION_REFUSED),
    ("A woman in a red sweater and possibly blue jeans is walking.", Reason.CAPTION_GUESSES),
    ("The man appears to be wearing a black coat and dark shoes.", Reason.CAPTION_GUESSES),
    ("A woman in what looks like a red sweater and blue jeans.", Reason.CAPTION_GUESSES),
    ("He wears a coat that seems grey and a pair of dark shoes.", Reason.CAPTION_GUESSES),
    ("A woman in a red sweater stands with trees in the background.", Reason.CAPTION_BACKGROUND),
    ("A man in a grey suit walks on the street with a bag.", Reason.CAPTION_BACKGROUND),
    ("In this image a man wears a grey suit and black shoes.", Reason.CAPTION_BACKGROUND),
    ("A man in a grey suit beside other people holds a bag.", Reason.CAPTION_BACKGROUND),
    ("A famous woman in a red dress and heels is walking.", Reason.CAPTION_NAMES),
    ("A man named Peter wears a grey suit and black shoes.", Reason.CAPTION_NAMES),
    ("In a red dress, Anna Maria Miller is walking with a bag.", Reason.CAPTION_NAMES),
    ("A woman.", Reason.CAPTION_SHORT),
    ("Red sweater, jeans.", Reason.CAPTION_SHORT),
    ("A woman in a red sweater and a blue coat. " * 12, Reason.CAPTION_LONG),
    ("A man in a coat. He walks. He has a bag. It is red. He is tall.", Reason.CAPTION_SENTENCES),
    ("Une femme porte un pull rouge et un jean bleu avec des baskets blanches.", Reason.CAPTION_NOT_ENGLISH),
    ("Eine Frau trägt einen roten Pullover und blaue Jeans.", Reason.CAPTION_NOT_ENGLISH),
    ("一位女士 is wearing a red sweater and blue jeans.", Reason.CAPTION_NOT_ENGLISH),
    ("Женщина в красном свитере и синих джинсах идёт.", Reason.CAPTION_NOT_ENGLISH),
    ("A man in a red coat, in a red coat, in a red coat, walks.", Reason.CAPTION_REPEATS_ITSELF),
    ("I cannot provide a description of this person.", Reason.CAPTION_REFUSED),
    ("Sorry, I can't describe people in images.", Reason.CAPTION_REFUSED),
    ("I apologize, but I am not able to describe the individual.", Reason.CAPTION_REFUSED),
    ("I won't describe the person in this picture because of privacy.", Reason.CAPTION_REFUSED),
    ("There is no person in the picture that could be described.", Reason.CAPTION_REFUSED),
    ("Unfortunately, the picture is too blurry to describe a person.", Reason.CAPTION_REFUSED),
    ("As a large language model, I have no eyes for a red coat.", Reason.CAPTION_REFUSED),
    ("Sure! Here is the description: a man in a red coat walks.", Reason.CAPTION_MARKUP),
    ("Here is the caption: A man in a red coat and jeans walks.", Reason.CAPTION_MARKUP),
    ("Description: A man in a red coat and jeans walks.", Reason.CAPTION_MARKUP),
    ("The caption is: A man in a red coat and jeans walks.", Reason.CAPTION_MARKUP),
    ("A man in a red coat & blue jeans &amp; white shoes walks.", Reason.CAPTION_MARKUP),
    ("```A man in a red coat and blue jeans walks.```", Reason.CAPTION_MARKUP),
    ("• A man in a red coat and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("A man in a red coat ➜ blue jeans and white shoes.", Reason.CAPTION_MARKUP),
    ("“A man in a red coat and blue jeans walks.”", Reason.CAPTION_MARKUP),
    ("'A man in a red coat and blue jeans walks.'", Reason.CAPTION_MARKUP),
    ("## Person\nA man in a red coat and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("| red coat | blue jeans | the man walks with a bag", Reason.CAPTION_MARKUP),
    ('{"caption": "A man in a red coat and blue jeans walks."}', Reason.CAPTION_MARKUP),
    ("A [he/she] wears [colored top] and blue jeans.", Reason.CAPTION_PLACEHOLDER),
    ("A man in a {colored top} and blue jeans walks on.", Reason.CAPTION_MARKUP),
    ("A man in a <color> coat and blue jeans walks on.", Reason.CAPTION_MARKUP),
    ("A man in a red coat, perhaps with a hat, walks on.", Reason.CAPTION_GUESSES),
    ("A man in a red coat is apparently walking with a bag.", Reason.CAPTION_GUESSES),
    ("A man in a red coat might have black shoes on.", Reason.CAPTION_GUESSES),
    ("A man in a red coat that could have a hood walks.", Reason.CAPTION_GUESSES),
    ("A man in a red coat, presumably leather, walks on.", Reason.CAPTION_GUESSES),
    ("It seems that the man wears a red coat and black shoes.", Reason.CAPTION_GUESSES),
    ("A man in a red coat, suggesting that he is a chef.", Reason.CAPTION_GUESSES),
    ("A man in a coat, or maybe a jacket, and black shoes.", Reason.CAPTION_GUESSES),
    ("The woman is assumed to wear a red coat and jeans.", Reason.CAPTION_GUESSES),
    ("A woman in a red coat stands in front of a building.", Reason.CAPTION_BACKGROUND),
    ("A woman in a red coat walks down a busy street.", Reason.CAPTION_BACKGROUND),
    ("A woman in a red coat is walking along the pavement.", Reason.CAPTION_BACKGROUND),
    ("A woman in a red coat with a crowd behind her walks.", Reason.CAPTION_BACKGROUND),
    ("The photo shows a woman in a red coat and black boots.", Reason.CAPTION_BACKGROUND),
    ("The background is a park; the man wears a red coat.", Reason.CAPTION_BACKGROUND),
    ("A man in a red coat, against a white wall, holds a bag.", Reason.CAPTION_BACKGROUND),
    ("Against a blurry background, a man in a red coat walks.", Reason.CAPTION_BACKGROUND),
    ("The lighting is soft and the man wears a red coat.", Reason.CAPTION_BACKGROUND),
    ("This is Brad Pitt in a red coat and black boots.", Reason.CAPTION_NAMES),
    ("A man who looks like Tom Cruise wears a red coat.", Reason.CAPTION_GUESSES),
    ("Taylor Swift wears a red coat and black boots here.", Reason.CAPTION_NAMES),
    ("The woman, Anna Maria Miller, wears a red dress and heels.", Reason.CAPTION_NAMES),
    ("Barack Obama is wearing a dark suit and a blue tie.", Reason.CAPTION_NAMES),
    ("A man called Peter wears a red coat and black boots.", Reason.CAPTION_NAMES),
    ("The actor in a red coat and black boots is walking.", Reason.CAPTION_NAMES),
    ("Un hombre con abrigo rojo y pantalones negros camina.", Reason.CAPTION_NOT_ENGLISH),
    ("Ein Mann mit rotem Mantel und schwarzen Stiefeln geht.", Reason.CAPTION_NOT_ENGLISH),
    ("Una donna in un cappotto rosso e stivali neri cammina.", Reason.CAPTION_NOT_ENGLISH),
    ("Um homem com casaco vermelho e calças pretas caminha.", Reason.CAPTION_NOT_ENGLISH),
    ("Een man in een rode jas en zwarte laarzen loopt weg.", Reason.CAPTION_NOT_ENGLISH),
    ("En man i röd rock och svarta skor går med en väska.", Reason.CAPTION_NOT_ENGLISH),
    ("Mężczyzna w czerwonym płaszczu i czarnych butach idzie.", Reason.CAPTION_NOT_ENGLISH),
    ("一个穿着红色外套和黑色靴子的男人正在走路。", Reason.CAPTION_NOT_ENGLISH),
    ("赤いコートと黒いブーツを着た男性が歩いています。", Reason.CAPTION_NOT_ENGLISH),
    ("رجل يرتدي معطفا أحمر وحذاء أسود يمشي في هدوء", Reason.CAPTION_NOT_ENGLISH),
    ("एक आदमी लाल कोट और काले जूते पहने हुए है", Reason.CAPTION_NOT_ENGLISH),
    ("A man in a red coat, a red coat, a red coat, a red coat, a red coat.", Reason.CAPTION_REPEATS_ITSELF),
    ("red red red red red red red red red red a coat", Reason.CAPTION_REPEATS_ITSELF),
    ("A man in a coat and a coat and a coat and a coat and a coat.", Reason.CAPTION_REPEATS_ITSELF),
    ("Man.", Reason.CAPTION_SHORT),
    ("A man in red.", Reason.CAPTION_SHORT),
    ("N/A", Reason.CAPTION_SHORT),
    ("None", Reason.CAPTION_SHORT),
    ("...", Reason.CAPTION_SHORT),
    ("\u200b", Reason.CAPTION_MARKUP),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_caption_passes(text: str) -> None:
    assert VALIDATOR.problem(text) is None


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_no_caption_is_named(text: str, reason: Reason) -> None:
    finding = VALIDATOR.problem(text)
    assert finding is not None
    assert finding.reason is reason
    assert finding.detail


@pytest.mark.parametrize("library", packaged_libraries())
def test_every_packaged_template_can_make_a_caption(library: str) -> None:
    examples = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
    texts = [fill(template, examples) for template in load_library(library).templates]
    assert [(text, found) for text in texts if (found := VALIDATOR.problem(text))] == []


def test_of_the_made_worlds_captions_only_talk_of_the_background_is_found() -> None:
    library = load_library("world")
    false_alarms, found = [], 0
    for person in draw_identities(20, 5):
        for slot in range(SLOTS):
            caption = write_caption(
                "p", 0, slot, person.look, "walking", "front", library, person.number, 0.2
            )
            finding = VALIDATOR.problem(caption.text)
            found += finding is not None
            if finding and Lie.BACKGROUND not in {word.lie for word in caption.words}:
                false_alarms.append((caption.text, finding))
    assert false_alarms == []
    assert found


def test_a_caption_like_its_sibling_is_none() -> None:
    sibling = "A woman with short black hair is wearing a red sweater, blue jeans and white sneakers!"
    finding = VALIDATOR.problem(GOOD[0], [GOOD[2], sibling])
    assert finding is not None
    assert finding.reason is Reason.CAPTION_REPEATS_SIBLING


def test_another_wording_of_the_same_person_is_a_caption() -> None:
    assert VALIDATOR.problem(GOOD[0], [GOOD[2]]) is None


def test_tokens_of_clip_are_counted_with_start_and_end() -> None:
    text = "A man in a coat and a hat and a bag"  # eleven tokens, a word each
    assert Validator(CaptionLimits(clip_tokens_max=13)).problem(text) is None
    finding = Validator(CaptionLimits(clip_tokens_max=12)).problem(text)
    assert finding is not None
    assert (finding.reason, finding.detail) == (Reason.CAPTION_LONG, "13 tokens of CLIP")


def test_one_sentence_can_be_asked_for() -> None:
    strict = Validator(CaptionLimits(sentences_max=1))
    assert strict.problem(GOOD[0]) is None
    finding = strict.problem(GOOD[6])
    assert finding is not None
    assert finding.reason is Reason.CAPTION_SENTENCES
