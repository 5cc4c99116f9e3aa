"""Algorithm 1: the order of its steps, what each starts from, and when it stops."""

import json

import pytest

from partwise.run.rounds import MODULES, Loop, record


class Steps:
    """Runs of steps that write what the loop reads of them, and remember how they were started."""

    def __init__(self, folder, similar, persons=5):
        self.folder, self.similar, self.persons, self.started = folder, list(similar), persons, []

    def __call__(self, name, key, given):
        made = self.folder / f"{len(self.started)}-{key}"
        self.started.append((key, list(given), made))
        made.mkdir()
        if key == "labels":
            self.started[-1] = key, list(given), made / "dataset"
            made = made / "dataset"
            for folder in (made, made.parent / "pictures"):
                folder.mkdir()
            (made.parent / "pictures" / "labels.png").write_text(made.parent.name)
            instances = "model.kind=instances" in given
            about = {"persons": self.persons, "similar": self.similar.pop(0) if instances else None}
            (made / "summary.json").write_text(json.dumps(about))
            (made.parent / "run.json").write_text(json.dumps({"seconds": 7.5}))
            return made
        (made / "checkpoints").mkdir()
        (made / "run.json").write_text(json.dumps({"seconds": float(len(self.started))}))
        (made / "metrics.json").write_text(json.dumps({"test/AP": len(self.started) / 100}))
        return made / "checkpoints" / "last.ckpt"

    def keys(self):
        return [
            key if key != "labels" else next(g.partition("=")[2] for g in given if g.startswith("model.kind"))
            for key, given, _ in self.started
        ]


def loop(steps, **about):
    started = {module: f"{module}.ckpt" for module in MODULES}
    return Loop({"tpr": 2, "gbsr": 1, "most": 3, "similar": 0.95, **about}, started, steps)


def test_the_steps_of_a_round_are_those_of_algorithm_1(tmp_path):
    steps = Steps(tmp_path, [0.8, 0.96])
    algorithm = loop(steps)
    algorithm.finish()
    refinement = ["masks", "seg", "masks", "seg", "poses", "pose", "instances"]
    assert steps.keys() == [*refinement, "seg", "pose2seg", *refinement]  # the second round's masks are similar enough


def test_a_module_is_trained_on_from_where_it_was_and_labels_are_the_newest_modules(tmp_path):
    steps = Steps(tmp_path, [0.5])
    algorithm = loop(steps, most=1)
    algorithm.finish()
    weights = {module: f"{module}.ckpt" for module in MODULES}
    labels = None
    for key, given, made in steps.started:
        init = next(g.partition("=")[2] for g in given if g.startswith("init="))
        # The Pose2Seg Module's checkpoint has an older Seg Module, which the newest must replace.
        takes = {"labels": ["pose2seg", "seg", "pose"], "pose2seg": ["pose2seg", "seg"]}.get(key, [key])
        assert init == "[" + ",".join(f"'{weights[module]}'" for module in takes) + "]"
        if key == "labels":
            labels = made
        else:
            assert f"data.extra='{labels}'" in given
            weights[key] = str(made / "checkpoints" / "last.ckpt")
    assert algorithm.weights == weights
    assert all(not file.startswith(module) for module, file in weights.items())


@pytest.mark.parametrize(("similar", "rounds"), [([0.96], 1), ([0.95, 0.951], 2), ([0.1, 0.2, 0.3], 3)])
def test_it_stops_when_masks_are_similar_or_after_enough_rounds(tmp_path, similar, rounds):
    steps = Steps(tmp_path, similar)
    algorithm = loop(steps)
    algorithm.finish()
    assert steps.keys().count("instances") == rounds
    assert [step["similar"] for step in algorithm.history if "similar" in step] == similar


def test_without_anybody_in_the_videos_modules_stay(tmp_path):
    steps = Steps(tmp_path, [0.0], persons=0)
    algorithm = loop(steps, most=1)
    algorithm.finish()
    assert steps.keys() == ["masks", "masks", "poses", "instances"]
    assert algorithm.weights["seg"] == "seg.ckpt"


def test_rounds_are_recorded_with_the_scores_of_what_they_trained(tmp_path):
    steps = Steps(tmp_path, [0.5])
    algorithm = loop(steps, most=1, tpr=1)
    algorithm.finish()
    record(algorithm.history, tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "rounds.json").read_text())
    assert [step["step"] for step in recorded] == ["round 1, TPR 1", "round 1, GBSR 1", "round 1, fusion"]
    assert recorded[0]["scores"] == {"seg": {"test/AP": 0.02}}
    assert recorded[0]["seconds"] == {"labels": 7.5, "seg": 2.0}
    assert recorded[2]["similar"] == 0.5
    assert set(recorded[2]["scores"]) == {"seg", "pose2seg"}
    pictures = {file.name: file.read_text() for file in (tmp_path / "run" / "pictures").iterdir()}
    assert pictures == {
        "round_1_tpr_1_labels.png": "0-labels",
        "round_1_gbsr_1_labels.png": "2-labels",
        "round_1_fusion_labels.png": "4-labels",
    }
