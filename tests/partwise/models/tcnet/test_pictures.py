"""The pictures of TCNet's fusion weights say which weight is whose."""

import numpy as np
import pytest
import small_networks
import torch

from partwise.labels import FACTS
from partwise.models.tcnet.pictures import fusion_weights, own_weights, plot_fusion_map, plot_fusion_weights

FRAMES = ["t−3", "t−1", "t"]


def network(**options):
    torch.manual_seed(0)
    return small_networks.build(small_networks.tcnet(frame={"num_classes": 13}, **options))


def labels_of(axes):
    return [tick.get_text() for tick in axes.get_xticklabels()], [tick.get_text() for tick in axes.get_yticklabels()]


def test_weights_are_told_by_class_frame_and_class():
    net = network()
    weights = fusion_weights(net)
    assert weights.shape == (13, 3, 13)
    scores = [torch.zeros(1, 13, 1, 1) for _ in range(3)]
    scores[1][0, 4] = 1  # face's neighbour, one frame before: nothing else
    fused = net.pixel_fusion(scores)[0, :, 0, 0].detach().numpy()
    np.testing.assert_allclose(weights[:, 1, 4], fused, rtol=1e-6)


def test_own_weights_are_those_of_the_class_itself():
    assert own_weights(network(fusion_start="mean")) == {frame: (1.0, pytest.approx(1 / 3)) for frame in FRAMES}
    net = network(fusion_start="mean")
    with torch.no_grad():
        net.pixel_fusion.weights[2, 2 * 13 + 5] = 9  # another class's is the largest in one of 13 classes of frame t
    shares = own_weights(net)
    assert shares["t"][0] == pytest.approx(12 / 13)
    assert shares["t−1"][0] == 1


def test_the_map_names_every_class_of_every_frame_and_shows_the_frames_weights():
    net = network()
    figure = plot_fusion_map(net, FACTS)
    heat, bars = (axes for axes in figure.axes if axes.get_label() != "<colorbar>")
    across, down = labels_of(heat)
    assert (across, down) == ([*FACTS.names] * 3, [*FACTS.names])
    shown = heat.images[0].get_array()
    np.testing.assert_allclose(shown, net.pixel_fusion.weights.detach().numpy())
    assert heat.images[0].norm.vmin == -heat.images[0].norm.vmax
    assert {text.get_text() for text in heat.texts} == set(FRAMES)
    heights = [bar.get_height() for bar in bars.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, net.frame_fusion.weights.detach()[:, 0])
    assert labels_of(bars)[0] == [f"w of {frame}" for frame in FRAMES]


def test_a_network_without_frame_level_has_no_bars():
    assert len([a for a in plot_fusion_map(network(frame_level=False), FACTS).axes if not a.images]) == 1  # the scale


def test_classes_with_weights_of_their_own_are_dots():
    figure = plot_fusion_map(network(class_weights=True), FACTS)
    (line,) = (line for axes in figure.axes for line in axes.lines if line.get_marker() == ".")
    assert len(line.get_xdata()) == 3 * 13


def test_a_classes_weights_have_names_on_their_axis():
    figure = plot_fusion_weights(network(), FACTS, ["face"])
    assert labels_of(figure.axes[0])[0] == [*FACTS.names] * 3
    with pytest.raises(ValueError, match="no class nose"):
        plot_fusion_weights(network(), FACTS, ["nose"])


def test_several_layers_of_fusion_have_no_such_weights():
    with pytest.raises(ValueError, match="fusion_layers=1"):
        plot_fusion_map(network(fusion_layers=2), FACTS)
