"""Training of the refinement network on persons with parts and poses (section 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Optimizer

from partwise.batches import ImageBatch, Parsing
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.models.pose_transfer.labelling import Labeller, cut_out, own_parts
from partwise.models.pose_transfer.library import comparable, make_library, name_of, read_people
from partwise.models.pose_transfer.pictures import plot_transfer
from partwise.models.pose_transfer.refine import Kind, PriorMaker, RefinementNetwork, refinement_loss
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.models.pose_transfer.writing import write_dataset
from partwise.models.scoring import letterboxes
from partwise.models.task import ParsingTask
from partwise.ops.resize import Letterbox

DRAWS = 2**31  # seeds of the draws of a step are below
LOOKED_AT = 20  # test pictures among which a person to draw is searched


class PoseRefinementTask(ParsingTask):
    """Train and score a refinement network, whose priors come from the persons of a library.

    Args:
        network: refines priors.
        label_set: of the classes that the skeleton's parts are merged into.
        metrics: makes the metrics of a split from the label set.
        skeleton: of the poses.
        library: DataModule whose training split has parts, persons and poses.
        prior: "parts", or "skeleton" for the limbs as sticks.
        k: neighbours that are averaged.
        n: neighbours of which training draws k for each sample.
        jitter: training's crops are cut out at random of ones that are larger by this many pixels.
        optimizer: makes the optimiser from parameter groups; None for a task that only scores.
        schedule: factor on the learning rate by progress through training; None keeps it constant.
    """

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        metrics: Callable[[LabelSet], nn.Module],
        skeleton: Skeleton,
        library: Any,
        prior: Kind = "parts",
        k: int = 3,
        n: int = 5,
        jitter: int = 30,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(network, label_set, metrics, optimizer, schedule)
        self.skeleton, self.source = skeleton, library
        self.prior, self.k, self.n = prior, k, n
        self.jitter = jitter

    @cached_property
    def labeller(self) -> Labeller:
        """The network with its library, which is read when it is first asked for."""
        library = make_library(read_people(self.source.dataset("train"), self.skeleton), self.skeleton)
        return Labeller(PriorMaker(library, self.prior, self.k, self.n), self.network)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the loss () of a batch's persons, by name (Eq. 6).

        Raises:
            InputError: the pictures have no persons or no poses.
        """
        if "instances" not in batch or "keypoints" not in batch:
            raise InputError("the refinement network learns from parts, persons and poses; these pictures lack some")
        draws = torch.Generator().manual_seed(hash((torch.initial_seed(), self.global_step)) % DRAWS)
        losses = [0 * sum(p.sum() for p in self.network.parameters())]  # where a batch has nobody
        for image, parts, persons, poses, name in zip(
            batch["images"], batch["parts"], batch["instances"], batch["keypoints"], batch["sample_ids"], strict=True
        ):
            losses += self._of_picture(image, parts, persons, poses, name, draws)
        return {"refinement": torch.stack(losses).sum() / max(len(losses) - 1, 1)}

    def write_dataset(self, data: Any, folder: Path, persons: int | None = None, **options: Any) -> str:
        """Label the persons of a DataModule's training pictures.

        Args:
            data: DataModule of pictures with poses.
            folder: of the labels.
            persons: at most; None takes all.
            options: of no effect.

        Returns:
            What there is, in words.

        Raises:
            InputError: the library is rendered, but the pictures are not.
        """
        if self.source.synthetic and not data.synthetic:
            raise InputError(
                "the library is synthetic, the pictures are real; name the library: model.library.root=DIR"
            )
        self.eval()  # no Trainer does, and the refinement network has dropout
        done = write_dataset(self.labeller, data.dataset("train"), folder, persons, max(1, data.num_workers))
        return f"{done.persons} persons in {done.pictures} pictures, {done.skipped} without"

    def _of_picture(
        self, image: Tensor, parts: Tensor, persons: Tensor, poses: Tensor, name: str, draws: torch.Generator
    ) -> list[Tensor]:
        """The loss of the persons of a picture, if there are any."""
        enough = comparable(self.skeleton, poses)
        numbers = [n for n in range(1, len(poses) + 1) if enough[n - 1] and (persons == n).any()]
        if not numbers:
            return []
        height, width = self.network.crop_size
        size = (height + self.jitter, width + self.jitter)
        crops = cut_out(image, poses, numbers, size)
        priors = self.labeller.priors
        own = priors.library.rows(name_of(name, n) for n in numbers)
        neighbours, _ = priors.find(crops.poses.cpu(), own, training=True, generator=draws)
        prior = priors.make(neighbours, crops.poses.cpu(), crops.sizes.cpu(), size).to(image.device)
        truth = own_parts(parts, persons, crops, size)
        top, left = torch.randint(self.jitter + 1, (2,), generator=draws).tolist()
        rows, columns = slice(top, top + height), slice(left, left + width)
        maps = self.network(crops.images[..., rows, columns], prior[..., rows, columns])
        return [refinement_loss(maps, truth[..., rows, columns])]

    def parse(self, batch: Any) -> list[Parsing]:
        """Label the annotated pictures of a batch at the size of their annotations."""
        places = letterboxes(batch, self.stretch)
        if not isinstance(self.network, RefinementNetwork):
            return super().parse(batch)
        cases = zip(batch["images"], batch["keypoints"], batch["sample_ids"], places, strict=True)
        return [Parsing(parts=self._labelled(*case)) for case in cases]

    def plot(self, data: Any) -> dict[str, Figure]:
        """Draw how the largest person of the first test pictures gets parts; nothing where nobody has a pose.

        Args:
            data: DataModule of the run.

        Returns:
            The figure by the name of its file.
        """
        if not isinstance(self.network, RefinementNetwork):
            return {}
        dataset = data.dataset("test")
        best: tuple[int, float, int, int] | None = None  # joints, height, picture, number
        for index in range(min(LOOKED_AT, len(dataset))):
            poses = dataset[index]["keypoints"]
            enough = comparable(self.skeleton, poses).tolist()
            joints = (poses[..., 2] > 0).sum(1).tolist()
            heights = (poses[..., 1].amax(1) - poses[..., 1].amin(1)).tolist()
            people = enumerate(zip(joints, heights, enough, strict=True), 1)
            best = max(
                [*((j, h, index, n) for n, (j, h, yes) in people if yes), *([best] if best else [])], default=None
            )
        if best is None:
            return {}
        *_, index, number = best
        sample = dataset[index]
        name, image = sample["sample_ids"], sample["images"].float() / 255
        return {"transfer": plot_transfer(self.labeller, image, sample["keypoints"], number, name, sample["parts"])}

    def _labelled(self, image: Tensor, poses: Tensor, name: str, place: Letterbox) -> Tensor:
        parts, _ = self.labeller.label(image.cpu(), poses.cpu(), name)
        whole = F.interpolate(place.crop(parts)[None, None], place.native, mode="nearest-exact")
        return whole[0, 0].long().to(image.device)

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        metrics.update(batch["index"], self.parse(batch), batch["annotations"], batch["sample_ids"])
