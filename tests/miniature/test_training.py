import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.miniature import __main__ as command
from scripts.miniature import family as families
from scripts.miniature import llava15, llava15_further, llava_next, qwen, stages, student, video_pool
from scripts.miniature.grounding import mentions
from scripts.miniature.language import LanguageRecipe, llava_prompts, run_layers, train_language
from scripts.miniature.llava15_further import Further, open_checkpoint, transplant
from scripts.miniature.measure import attention_share, cls_attention, packed_layout
from scripts.miniature.packing import LLAVA_VIDEO, Looks, make_batch, pack
from scripts.miniature.pool import CHUNK, LABELS, PLAIN, Lesson, corpus, make_pool
from scripts.miniature.vision import encode, initialise, pixels
from tops.errors import ConfigurationError, DataError
from tops.miniature import checkpoints
from tops.miniature.families import build
from tops.miniature.prompts import IMAGE_FORMATS, make_turns
from tops.miniature.scenes import NAMES, make_scene
from tops.miniature.tokenizer import train_bpe
from tops.miniature.words import CHINESE, ENGLISH

START = checkpoints.ROOT / "llava-1.5"
ORDER = video_pool.VideoLesson(direct=("order",))


@pytest.fixture(scope="module")
def pool():
    return make_pool(CHUNK, 0, workers=1)


@pytest.fixture(scope="module")
def bpe(pool):
    return train_bpe(corpus(pool, 0, scenes=60))


@pytest.fixture(scope="module")
def model(bpe):
    return build("llava-1.5", bpe)[0].eval()


def test_a_pool_is_made_of_labelled_patches(pool):
    assert pool.labels.shape == (CHUNK, 144, len(LABELS))
    assert (pool.labels.max(axis=(0, 1)) < list(LABELS.values())).all()
    background = pool.labels[..., 0] == 0
    assert ((pool.labels[..., 1] == 0) == background).all()
    centres = pool.labels[..., 3].sum(axis=1)
    assert (centres == [len(scene.objects) for scene in pool.scenes]).mean() > 0.95


def test_crowded_pools_hold_many_digits():
    crowded = make_pool(2 * CHUNK, 0, crowded=True)
    assert np.mean([len(scene.objects) for scene in crowded.scenes]) > 6
    assert all(item.kind == "digit" for scene in crowded.scenes[CHUNK:] for item in scene.objects)


def test_packed_questions_keep_prompt_and_reply(pool, bpe):
    turns = make_turns(np.random.default_rng(0), pool.scenes[0], 8, IMAGE_FORMATS)
    packed = pack(bpe, turns, 256)
    assert packed.turns
    for number, turn in enumerate(packed.turns):
        own = packed.question == number
        assert (packed.offset[own] == np.arange(own.sum())).all()
        assert turn.prompt in bpe.decode(packed.ids[own])
        reply = packed.labels[own & (packed.labels >= 0)]
        assert bpe.decode(reply, skip_special_tokens=True) == turn.reply


def test_chinese_replies_begin_at_once(pool, bpe):
    lesson = Lesson(direct=("colour", "place", "relation check"), chinese=1.0)
    turns = lesson.turns(np.random.default_rng(0), pool.scenes[0], True, 256)
    assert {turn.question.language for turn in turns} == {"zh"}  # the claim, which is in English alone, is left out
    packed = pack(bpe, turns, 256)
    first = [packed.labels[(packed.question == n) & (packed.labels >= 0)][0] for n in range(len(packed.turns))]
    assert all(bpe.decode([token]).strip() for token in first)


def test_direct_questions_may_be_claims(pool):
    lesson = Lesson(direct=("relation check", "count check"))
    turns = [turn for scene in pool.scenes[:40] for turn in lesson.turns(np.random.default_rng(0), scene, True, 256)]
    assert {turn.question.kind for turn in turns} == {"relation check", "count check"}
    share = np.mean([turn.reply == "Yes" for turn in turns])
    assert 0.4 < share < 0.6
    plain = Lesson().turns(np.random.default_rng(0), pool.scenes[0], True, 256)
    assert {turn.question.kind for turn in plain} <= set(PLAIN)


def test_the_written_out_towers_agree_with_transformers(pool, model):
    tower = model.model.vision_tower
    initialise(tower)
    images = pixels(torch.from_numpy(pool.images[:2]))
    with torch.inference_mode():
        native = tower(images, output_hidden_states=True)
        entering, features, pooled = encode(tower, images)
    torch.testing.assert_close(entering, native.hidden_states[-3], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(features, native.hidden_states[-2], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(pooled, native.pooler_output, atol=2e-5, rtol=1e-4)


def test_cls_attention_is_the_towers_own(pool, model):
    tower = model.model.vision_tower
    images = pixels(torch.from_numpy(pool.images[:2]))
    tower.set_attn_implementation("eager")
    with torch.inference_mode():
        rows = tower(images, output_attentions=True).attentions[-2][:, :, 0, 1:]
        ours = cls_attention(tower, encode(tower, images)[0], len(tower.encoder.layers) - 2)
    tower.set_attn_implementation("sdpa")
    torch.testing.assert_close(ours, rows / rows.sum(-1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert attention_share(ours, torch.ones(2, 144, dtype=torch.bool)).tolist() == pytest.approx([1, 1])


def test_a_packed_question_is_answered_as_if_it_stood_alone(pool, bpe, model):
    language = model.model.language_model
    prefix = 10
    rng = np.random.default_rng(0)
    batch = make_batch(bpe, [pool.picture(rng, number, 0.5, Lesson(), 128) for number in (0, 1)], 128, prefix)
    before = torch.randn(2, prefix, 128)
    states = torch.cat([before, model.get_input_embeddings()(batch.ids)], 1)
    with torch.inference_mode():
        cos, sin = language.rotary_emb(states, batch.positions)
        ours, looks, _ = run_layers(language, states, cos[:, None], sin[:, None], prefix, batch.mask)
        mask, positions = packed_layout(batch.packed, prefix)
        packed = language(inputs_embeds=states, attention_mask=mask, position_ids=positions).last_hidden_state
        own = torch.from_numpy(batch.packed[1].question == 1)
        alone = torch.cat([before[1], states[1, prefix:][own]])[None]
        single = language(inputs_embeds=alone).last_hidden_state[0, prefix:]
    torch.testing.assert_close(packed[1, prefix:][own], single, atol=1e-4, rtol=1e-3)
    real = torch.from_numpy(np.stack([p.question for p in batch.packed])) >= 0
    torch.testing.assert_close(ours[real], packed[:, prefix:][real], atol=1e-4, rtol=1e-3)
    assert [look.shape for look in looks] == 3 * [(2, 128, prefix + 128)]
    torch.testing.assert_close(looks[1].sum(-1), torch.ones(2, 128), atol=1e-3, rtol=0)
    torch.testing.assert_close(positions, batch.positions)


def test_looks_point_at_phrases_objects_and_options(pool, bpe):
    rng = np.random.default_rng(1)
    batch = make_batch(bpe, [pool.picture(rng, number, 0.0, Lesson(), 320) for number in range(8)], 320, 10)
    turns = {(row, number): turn for row, p in enumerate(batch.packed) for number, turn in enumerate(p.turns)}

    def turn_at(token):
        row, place = token.tolist()
        return turns[row, int(batch.packed[row].question[place])]

    assert len(batch.chosen.token) == sum(bool(turn.question.options) for turn in turns.values()) > 0
    for token, target in zip(batch.chosen.token, batch.chosen.target, strict=True):
        assert bpe.decode(batch.ids[token[0], target].tolist()).strip() == turn_at(token).question.answer
    for token, target in zip(batch.named.token, batch.named.target, strict=True):
        row, place = token.tolist()
        names = {NAMES[label - 1] for label in pool.labels[row][target.numpy(), 1]}
        (name,) = names
        phrase = bpe.decode(batch.ids[row, : place + 1].tolist())
        assert phrase.endswith((ENGLISH.noun(name), CHINESE.noun(name), ENGLISH.noun(name, plural=True)))
    for token, target in zip(batch.asked.token, batch.asked.target, strict=True):
        kind = turn_at(token).question.kind
        assert target.any()
        assert kind not in ("colour", "digit") or len(set(pool.labels[int(token[0])][target.numpy(), 0])) == 1


def test_a_phrase_names_one_object_or_none():
    objects = [("circle", "red"), ("circle", "blue"), ("3", "red")]
    scene = make_scene(np.random.default_rng(0), count=3, contents=objects)
    at = {(item.name, item.colour): place for place, item in enumerate(scene.objects)}
    text = "Is the red circle left of the digit 3, or a circle of the blue ring? 蓝色圆形 数字3"
    found = [(text[: end + 1].split()[-1].rstrip(",?"), item) for end, item in mentions(text, scene.objects)]
    assert found == [
        ("circle", at[objects[0]]),
        ("3", at[objects[2]]),
        ("蓝色圆形", at[objects[1]]),
        ("数字3", at[objects[2]]),
    ]


def test_other_hands_vary_the_digits_only():
    plain, varied = (make_pool(CHUNK, 0, hands=hands, workers=1) for hands in (False, True))
    ink = np.stack([scene.instance >= 0 for scene in plain.scenes])
    there = [[(item.name, item.colour, item.box) for item in scene.objects] for scene in plain.scenes]
    assert there == [[(item.name, item.colour, item.box) for item in scene.objects] for scene in varied.scenes]
    digits = np.array([any(item.kind == "digit" for item in scene.objects) for scene in plain.scenes])
    same = (plain.images == varied.images).all(axis=(1, 2, 3))
    assert same[~digits].all()
    assert same[digits].mean() < 0.02
    assert abs(ink.mean() - np.mean([scene.instance >= 0 for scene in varied.scenes])) < 0.1 * ink.mean()


def test_a_checkpoint_opens_as_it_was_trained():
    model, clip, bpe = open_checkpoint(START)
    assert clip.vision is model.model.vision_tower
    assert bpe.encode(" red").tokens == ["Ġred"]
    assert model.lm_head.weight is model.get_input_embeddings().weight
    again, towers, _ = transplant("llava-1.5", model, clip, bpe)
    assert again.lm_head.weight is again.get_input_embeddings().weight
    assert towers.vision is again.model.vision_tower
    assert torch.equal(again.model.vision_tower.post_layernorm.weight, clip.vision.post_layernorm.weight)
    shipped = json.loads((START / "config.json").read_text())
    assert again.config.to_diff_dict()["text_config"].keys() == shipped["text_config"].keys()


@pytest.fixture(scope="module")
def tiled():
    return llava_next.shared(START)


def test_llava_next_starts_with_llava_15s_weights_and_its_own_tokens(pool, tiled):
    model, clip, processor, _ = tiled
    donor = open_checkpoint(START)[0].state_dict()
    own = model.state_dict()
    assert own.keys() - donor.keys() == {"model.image_newline"}
    assert all(torch.equal(value, own[name]) for name, value in donor.items())
    assert clip.vision is model.model.vision_tower
    shows = llava_next.shows()
    newline = shows.sum(1) == 0
    model.model.image_newline.data.fill_(3.0)
    found = llava_next.scene_tokens(model, processor, pool.scenes[:2])
    model.model.image_newline.data.zero_()
    asked = processor(images=[Image.fromarray(pool.images[0])], text=["<image>\n"], return_tensors="pt")
    assert found.shape[1] == len(shows) == int((asked.input_ids == model.config.image_token_id).sum())
    assert ((found == 3.0).all(-1) == newline).all()
    # The tower sees each patch twice, in the thumbnail and in a tile: its two tokens resemble each other.
    thumbnail, tile = (torch.nn.functional.normalize(part, dim=-1) for part in (found[0, :144], found[0, 144:]))
    near = thumbnail @ tile[~newline[144:]].T
    assert near.diagonal().mean() > near.mean() + 0.1


def test_looks_spread_over_the_tokens_of_a_family():
    looks = Looks(torch.tensor([[0, 5]]), torch.arange(144)[None] == 13)
    spread = looks.spread(llava_next.shows())
    assert spread.target[0].nonzero().flatten().tolist() == [13, 144 + 13 + 1]
    assert spread.token is looks.token


def test_a_step_moves_the_weights(pool, bpe):
    model = build("llava-1.5", bpe)[0].model.language_model
    lines: list[str] = []
    recipe = replace(LanguageRecipe(), minutes=1e-4, batch=2, length=64, warmup=1, compiled=False)
    image = torch.randn(2, 144, 128)

    def visual(chosen):
        return image, torch.zeros(())

    before = model.layers[0].mlp.up_proj.weight.clone()
    parameters = list(model.parameters())
    prompts = llava_prompts(torch.eye(144))
    steps = train_language(model, pool, bpe, recipe, prompts, visual, parameters, lines.append, lambda: None)
    assert steps >= 1
    assert not torch.equal(before, model.layers[0].mlp.up_proj.weight)


def test_a_videos_tokens_are_asked_for_its_script():
    videos = video_pool.make_video_pool(6, 1)
    shows = student.video_view()
    script = video_pool.Script(videos, shows, 16)
    for number, video in enumerate(videos.videos):
        owner = torch.from_numpy(videos.owner[number]).long()
        first, births = script.births(number)
        there = [(owner.view(video_pool.FRAMES, -1) == track).any(1) for track in range(len(video.tracks))]
        assert first.tolist() == [int(seen.long().argmax()) for seen in there]
        assert set(births.unique().tolist()) == {-1, *first.tolist()}
        frames = torch.arange(video_pool.FRAMES).repeat_interleave(len(shows) // video_pool.FRAMES)
        assert (births <= frames).all()
        seen = script.seen(number)
        assert seen[-1].nonzero().flatten().tolist() == sorted(NAMES.index(track.item.name) for track in video.tracks)
        assert (seen.diff(dim=0) >= 0).all()
    states = torch.randn(3, 2, len(shows), 16, requires_grad=True)
    script.losses(states.unbind(), [0, 3]).sum().backward()
    assert (states.grad.abs().sum((1, 2, 3)) > 0).all()


def test_an_order_in_words_looks_at_one_object_after_the_other(bpe):
    videos = video_pool.make_video_pool(12, 3)
    pictures = [videos.picture(np.random.default_rng(0), n, 1.0, ORDER, 64) for n in range(12)]
    pictures = [picture for picture in pictures if picture.turns]
    batch = make_batch(bpe, pictures, 64, 10, LLAVA_VIDEO)
    for row, picture in enumerate(pictures):
        places = batch.asked.token[:, 0] == row
        found = [set(picture.owner[target.numpy()].tolist()) for target in batch.asked.target[places]]
        assert found == [{0}, {1}, {2}]
        predicted = [bpe.decode([int(batch.labels[row, place])]).strip() for _, place in batch.asked.token[places]]
        assert predicted == [part.split()[0] for part in picture.turns[0].reply.split(", ")]


@pytest.mark.parametrize("family", ["internvl3", "llava-video"])
def test_a_family_goes_on_from_its_own_checkpoint(family):
    folder = checkpoints.path(family)
    made = student.student(family, folder)[0].model
    shipped = type(made).from_pretrained(folder, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in made.state_dict().items())
    recipe = stages.scaled(families.recipe(family, folder), 0.5)
    assert recipe != families.recipe(family, START)
    with pytest.raises(ConfigurationError, match=f"a folder named llava-1.5 or {family}"):
        command.train(family, folder, start=folder.parent / "llava-next")


def test_stages_of_another_recipe_and_starts_that_are_none_are_refused(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(DataError, match="another recipe"):
        llava15.run(tmp_path, llava15.Recipe())
    with pytest.raises(ConfigurationError, match=f"--from is {tmp_path}; it must be a folder named llava-1.5"):
        command.train("llava-1.5", tmp_path, start=tmp_path)
    (tmp_path / "llava-1.5").mkdir()
    with pytest.raises(DataError, match="cannot read the model card"):
        command.train("llava-next", tmp_path, start=tmp_path / "llava-1.5")


def _asked(made, picture):
    """What the family's processor makes of a question about one picture, or about so many frames."""
    video = isinstance(picture, np.ndarray)
    content = [{"type": "video" if video else "image"}, {"type": "text", "text": "What color is the ring?"}]
    text = made.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    media = {"videos": [picture], "do_sample_frames": False} if video else {"images": [picture]}
    return made.processor(text=text, return_tensors="pt", **media)


@pytest.mark.parametrize("family", student.STUDENTS)
def test_a_family_in_training_sees_and_counts_as_it_is_asked_later(pool, family):
    made, donor = student.student(family, START)
    images = torch.from_numpy(pool.images[:8])
    video = made.newline is not None
    asked = _asked(made, pool.images[:8] if video else Image.fromarray(pool.images[0]))
    inner = made.model.model
    with torch.no_grad():
        if video:
            made.newline.fill_(3.0)
            ours = made.arrange(made.see(images)[None])[0, :-1]  # the model adds the last newline itself
            native = inner.get_video_features(
                asked.pixel_values_videos, vision_feature_layer=-1, vision_feature_select_strategy="full"
            ).pooler_output
            assert ((ours == 3.0).all(-1) == (made.prompts.shows[:-1].sum(1) == 0)).all()
        elif family == "qwen2.5-vl":
            ours, native = made.see(images[:1]), inner.visual(asked.pixel_values, asked.image_grid_thw).pooler_output
        else:
            ours = made.see(images[:1])
            native = inner.get_image_features(
                asked.pixel_values, vision_feature_layer=-1, vision_feature_select_strategy="default"
            ).pooler_output
    ours = ours.reshape(-1, 128)
    # Pillow and torch enlarge alike to a grey level.
    torch.testing.assert_close(ours, native.reshape(ours.shape), atol=0.05, rtol=0.0)
    template, count = made.prompts.template, len(made.prompts.shows)
    config = made.model.config
    mark = config.video_token_id if video else config.image_token_id
    start = made.bpe.encode(template.start).ids
    after = made.bpe.encode(template.after_image + "What color is the ring?" + template.before_reply).ids
    assert [*start, *[mark] * count, *after] == asked.input_ids[0].tolist()
    if made.prompts.places is not None:
        types = asked.mm_token_type_ids
        native, _ = inner.get_rope_index(asked.input_ids, types, image_grid_thw=asked.image_grid_thw)
        assert torch.equal(native, made.prompts.positions(len(start) + count, len(after)))
    donated = donor.model.language_model.state_dict()
    own = inner.language_model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in donated.items())
    assert all(not own[name].any() for name in own.keys() - donated.keys())


def test_what_qwens_tower_takes_over_is_clips_but_for_places():
    size = 8
    query, key = torch.randn(2, size, 12).unbind()
    turned = qwen._unturned(query, key)
    torch.testing.assert_close(turned[0].T @ turned[1], query.T @ key, atol=1e-4, rtol=1e-4)
    strength = (turned[0] * turned[1]).abs().sum(1)
    assert strength[[1, 3, 5, 7]].min() >= strength[[0, 2, 4, 6]].max()  # the odd dimensions turn least
    donor = open_checkpoint(START)[0]
    layer = donor.model.vision_tower.encoder.layers[0]
    block = student.student("qwen2.5-vl", START)[0].model.model.visual.blocks[0]
    states = torch.randn(1, 7, 128)
    states -= states.mean(-1, keepdim=True)
    with torch.no_grad():
        wanted = layer.mlp(layer.layer_norm2(states))
        found = block.mlp(block.norm2(states))
    torch.testing.assert_close(found, wanted - wanted.mean(-1, keepdim=True), atol=1e-4, rtol=1e-3)


def test_video_material_names_the_frames_of_each_object(bpe):
    videos = video_pool.make_video_pool(12, 0)
    rng = np.random.default_rng(0)
    lesson = video_pool.VideoLesson()
    for number, video in enumerate(videos.videos):
        owner = videos.owner[number].reshape(video_pool.FRAMES, -1)
        assert set(np.unique(owner)) - {-1} == set(range(len(video.tracks)))  # whatever appears shows in some frame
        for track, item in enumerate(video.tracks):
            seen = np.flatnonzero((owner == track).any(1)) / (video_pool.FRAMES - 1)
            assert seen.min() >= item.start - 0.01
        plain = lesson.turns(rng, video, True, 320)
        assert all(turn.reply == turn.question.answer for turn in plain)
        lettered = lesson.turns(rng, video, False, 320)
        assert {turn.benchmark for turn in lettered} <= {"mlvu", "longvideobench", "videomme"}
        assert all(turn.reply == turn.question.letter for turn in lettered)
        for turn in plain:
            first = turn.question.objects[:1]
            if turn.question.kind in ("video colour", "turned", "needle", "first", "earlier", "next", "moving"):
                item = video.tracks[first[0]].item
                answers = (item.colour, item.name, video.tracks[first[0]].colour_after, ENGLISH.noun(item.name))
                assert turn.reply in answers
    pictures = [videos.picture(rng, number, 0.0, lesson, 320) for number in range(4)]
    batch = make_batch(bpe, pictures, 320, 10, LLAVA_VIDEO)
    assert batch.asked.target.shape[1] == video_pool.FRAMES * 144
    assert batch.asked.target.any(1).all()


def test_a_shorter_training_keeps_its_proportions():
    recipe = stages.scaled(Further(), 0.5)
    assert recipe.minutes == Further().minutes / 2
    assert recipe.together == replace(Further().together, minutes=Further().together.minutes / 2)


@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_a_checkpoint_goes_into_the_folder_that_is_named(family, tmp_path, monkeypatch):
    """Every family's command, without the training itself."""
    saved = {}

    def save(name, model, processor, bpe, card, clip=None, root=checkpoints.ROOT):
        saved[name] = root
        return START

    monkeypatch.setattr(command, "save_checkpoint", save)
    monkeypatch.setattr(command, "measured_llava", lambda *given: {})
    for module in (llava15, llava15_further, llava_next, families):
        monkeypatch.setattr(module, "run", lambda *given: None)
    four = (None, None, None, None)
    for module in (llava15, llava15_further, llava_next):
        monkeypatch.setattr(module, "restore", lambda *given: four)
    monkeypatch.setattr(families, "restore", lambda *given: SimpleNamespace(model=None, processor=None, bpe=None))
    for module in (llava_next, families):
        monkeypatch.setattr(module, "card", lambda *given: {})
    monkeypatch.setattr(families, "measured", lambda own: {})
    monkeypatch.setattr(command, "first_card", lambda *given: {})
    monkeypatch.setattr(command, "further_card", lambda *given: {})
    assert command.main([family, "--work", str(tmp_path), "--into", str(tmp_path / "into"), "--minutes", "1"]) == 0
    assert saved[family] == tmp_path / "into"
