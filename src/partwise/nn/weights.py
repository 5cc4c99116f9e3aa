"""What to say when pre-trained weights cannot be loaded."""

from __future__ import annotations

from partwise.errors import InputError

FROM_SCRATCH = "train from scratch: pretrained=none where the config has it"
TORCH_HUB = "the torch hub cache (TORCH_HOME)"


def missing_weights(weights: str, error: Exception, file: str, cache: str, instead: str = FROM_SCRATCH) -> InputError:
    """Describe pre-trained weights that cannot be loaded, such as for want of a network.

    Args:
        weights: what is missing.
        error: why it cannot be loaded.
        file: the file to place by hand.
        cache: where to place it.
        instead: what to do without the weights.

    Returns:
        the error to raise.
    """
    return InputError(f"{weights} cannot be had ({type(error).__name__}): place {file} in {cache}, or {instead}")
