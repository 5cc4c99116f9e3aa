"""Draw all fusion weights of a TCNet (the paper's Figure 7, all classes at once) from its checkpoint.

python scripts/plot_fusion_weights.py outputs/tcnet_indoor/RUN/checkpoints/last.ckpt --out docs/tcnet_fusion_weights.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from partwise.checkpoints.loading import KEY, build_network, load
from partwise.errors import InputError
from partwise.io import atomic
from partwise.labels import LabelSet
from partwise.models.tcnet.model import TCNet
from partwise.models.tcnet.pictures import plot_fusion_map
from partwise.run import cli
from partwise.run.folder import origin


def main() -> None:
    """Read the checkpoint, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of TCNet")
    parser.add_argument("--out", type=Path, default=Path("tcnet_fusion_weights.png"), help="picture to write")
    options = parser.parse_args()
    with cli.one_line_errors():
        checkpoint = load(options.checkpoint)
        network, about = build_network(checkpoint, options.checkpoint), checkpoint[KEY]
        if not isinstance(network, TCNet) or len(network.pixel_fusion.layers) > 1:
            raise InputError(f"{options.checkpoint} holds no TCNet with one layer of fusion; give one of tcnet_indoor")
        figure = plot_fusion_map(network, LabelSet.from_state(about["label_set"]))
        figure.suptitle(
            f"{about['experiment']}, {checkpoint['global_step']} steps on {origin(about['synthetic'])} data",
            fontsize=10,
        )
        with atomic.writing(options.out):
            figure.savefig(options.out, dpi=100)
    print(options.out)


if __name__ == "__main__":
    main()
