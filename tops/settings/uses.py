"""Which settings have an effect under which profile; a setting without effect is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tops.errors import ConfigurationError
from tops.settings.schema import LauncherConfig, ProfileConfig, TrackingConfig

Where = Literal["both", "paper", "miniature"]

# Every key of the schemas; a test walks them, so that a new one is entered here. First those of backbone and profile,
# by the kind of profile that reads them.
USES: dict[str, Where] = {
    "backbone.title": "both",
    "backbone.family": "both",
    "backbone.signals": "both",
    "backbone.attention": "both",
    "backbone.video": "both",
    "backbone.methods": "both",
    "backbone.device_map": "both",
    "backbone.miniature": "miniature",
    "backbone.checkpoint": "paper",
    "backbone.options": "paper",
    "backbone.dtype": "paper",
    "backbone.frames": "paper",
    "backbone.text_tower": "paper",
    "backbone.depth": "paper",
    "backbone.visual": "paper",
    "backbone.width": "paper",
    "backbone.feed_forward": "paper",
    "backbone.parameters": "paper",
    "profile.title": "both",
    "profile.device": "both",
    "profile.dtype": "both",
    "profile.miniature": "both",
    "profile.batch_size": "both",
    "profile.vision_memory_gb": "both",
    "profile.allow_empty": "both",
    "profile.stock_words": "both",
    "profile.device_map": "both",
    "profile.judge": "both",
    "profile.judge_model": "both",
    "profile.engine": "both",
    "profile.checkpoints": "paper",
    "profile.data": "paper",
}
# Keys of launcher and tracking, by the kinds and modes that read them; None: all of them.
LAUNCHES: dict[str, tuple[str, ...] | None] = {
    "launcher.kind": None,
    "launcher.workers": None,
    "launcher.gpus_per_worker": None,
    "launcher.threads": None,
    "launcher.attempts": None,
    "launcher.options": ("slurm", "ray"),
    "launcher.detach": ("slurm",),
}
TRACKS: dict[str, tuple[str, ...] | None] = {
    "tracking.mode": None,
    "tracking.project": ("offline", "online"),
    "tracking.entity": ("offline", "online"),
    "tracking.directory": ("offline", "online"),
}
LAYOUT = "backbone.options.image_layout"  # the plan itself refuses a value that the embedded model cannot have
_INSTEAD = {
    "backbone.options": "backbone.miniature.options",
    "backbone.checkpoint": "backbone.miniature.checkpoint",
    "backbone.frames": "backbone.miniature.frames",
    "backbone.depth": "backbone.miniature.depth",
    "backbone.visual": "backbone.miniature.visual",
    "backbone.dtype": "profile.dtype",
}


def refuse_unused(keys: Iterable[str], profile: ProfileConfig, launcher: LauncherConfig, track: TrackingConfig) -> None:
    """Refuse settings that would do nothing under the profile, the launcher or the tracking that was chosen.

    Parameters
    ----------
    keys : iterable of str
        Dotted keys that a user gave.
    profile, launcher, track
        As composed.

    Raises
    ------
    ConfigurationError
        For the first such key; the message names the key that has the intended effect.
    """
    here = "miniature" if profile.miniature else "paper"
    for key in keys:
        name = ".".join(key.split(".")[:2])
        for table, chosen, advice in (
            (LAUNCHES, launcher.kind, "launcher={}"),
            (TRACKS, track.mode, "tracking=wandb or tracking=wandb-offline"),
        ):
            readers = table.get(name)
            if readers is not None and chosen not in readers:
                group = name.partition(".")[0]
                choice = advice.format(" or launcher=".join(readers))
                raise ConfigurationError(
                    f"{key} does nothing where {group} is {chosen}; leave it out, or choose {choice}"
                )
        if USES.get(name, "both") in ("both", here) or key == LAYOUT:
            continue
        why = "whose models and data are embedded" if profile.miniature else "which runs the real checkpoints"
        instead = f"; {_INSTEAD[name]} does it there" if profile.miniature and name in _INSTEAD else ""
        raise ConfigurationError(f"{key} does nothing under a {here} profile, {why}; leave it out{instead}")
