"""What an experiment starts from: which trainings, found where they were finished, run where they are missing."""

import pytest
from composing import composed

from partwise.errors import InputError
from partwise.run import stages
from partwise.run.cli import quoted


@pytest.fixture(autouse=True)
def each_config_once(monkeypatch):
    """The papers' recipes share their stages."""
    monkeypatch.setattr(stages, "compose", lambda _, overrides: composed(*overrides))


def stages_of(*overrides, synthetic=True):
    return stages.stages_of(composed(*overrides), synthetic, overrides)


def identity(*overrides, synthetic=True):
    return stages.identity(composed(*overrides), synthetic, overrides)


# Which trainings


@pytest.mark.parametrize("data", ["vip", "davis"])
@pytest.mark.parametrize("method", ["aten", "dff", "fgfa"])
def test_the_papers_recipe_starts_from_a_frame_model_and_a_flow_network(method, data):
    found = stages_of(f"experiment={method}_{data}", "profile=paper")
    assert {name: stage.experiment for name, stage in found.items()} == {
        "frame": f"parsing_rcnn_{data}",
        "flow": "flownet_s_chairs",
    }
    assert all(stage.config.profile == "paper" for stage in found.values())


@pytest.mark.parametrize("data", ["indoor", "outdoor", "ilids", "daily"])
@pytest.mark.parametrize(
    ("variant", "flow"),
    [(v, "tcnet_flow_chairs") for v in ("l", "s", "l_c", "s_c", "l_s", "l_s_c", "l_s_c_f")]
    + [("full", "tcnet_flow_refined")],
)
def test_only_the_last_row_of_tcnets_tables_has_refined_flow(data, variant, flow):
    found = stages_of(f"experiment=tcnet_{data}", f"ablation=tcnet/{variant}", "profile=paper")
    assert [stage.experiment for stage in found.values()] == [flow]
    if variant == "full":
        assert found["flow"].config.data._target_ == composed(f"experiment=tcnet_{data}").data._target_
        (chairs,) = stages.stages_of(found["flow"].config, True, found["flow"].arguments).values()
        assert chairs.experiment == "tcnet_flow_chairs"


@pytest.mark.parametrize(
    ("pretrained", "init"),
    [
        ("standin", ["standin/parsing_rcnn_vip", "standin/aten_vip"]),
        ("none", []),
        ("imagenet", ["frame", "flow"]),
    ],
)
def test_a_demo_of_aten_starts_from_what_the_package_brings_from_nothing_or_from_stages(pretrained, init):
    given = ["experiment=aten_vip", f"pretrained={pretrained}"]
    assert list(composed(*given).init) == init
    assert list(stages_of(*given)) == [name for name in init if "/" not in name]


@pytest.mark.parametrize(
    "variant", ["experiment=aten_vip ablation=aten/full", "experiment=aten_vip ablation=aten/conv_lstm",
                "experiment=dff_vip", "experiment=fgfa_vip", "experiment=aten_fast_vip"]
)  # fmt: skip
def test_variants_and_baselines_start_from_the_same(variant):
    assert list(composed(*variant.split()).init) == ["standin/parsing_rcnn_vip", "standin/flownet_s_chairs"]


def test_a_path_stands_where_a_name_does():
    found = stages_of("experiment=aten_vip", "profile=paper", "init=[FRAME.ckpt,flow]")
    assert list(found) == ["flow"]


def test_a_stage_shares_profile_seed_and_machine_and_nothing_else():
    given = ["profile=paper", "seed=3", "trainer.devices=2", "model.optimizer.lr=1", "data.batch_size=7"]
    flow = stages_of("experiment=aten_vip", *given)["flow"]
    assert flow.arguments == ("experiment=flownet_s_chairs", *given[:3])


def test_a_stage_is_refused_unless_it_names_an_experiment():
    with pytest.raises(InputError, match=r"stages\.frame=.*give \{experiment: NAME"):
        stages_of("experiment=aten_vip", "profile=paper", "stages.frame=parsing_rcnn_vip")


def test_a_stage_that_starts_from_itself_is_refused(tmp_path):
    here = f"hydra.searchpath=[file://{tmp_path}]"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "ring.yaml").write_text(
        "# @package _global_\n"
        "defaults: [override /model: flownet_s, override /data: flying_chairs]\n"
        f"name: ring\nmonitor: val/epe\nstages: {{again: {{experiment: ring, overrides: ['{here}']}}}}\ninit: [again]\n"
    )
    with pytest.raises(InputError, match="ring has stages of stages, 8 deep: one starts from itself"):
        identity("experiment=ring", here)


@pytest.mark.process
def test_a_stage_of_the_users_own_folder_is_trained_from_there(tmp_path, monkeypatch):
    program = tmp_path / "run.py"
    program.write_text(
        "import pathlib, sys\npathlib.Path(__file__).with_name('given').write_text('|'.join(sys.argv[1:]))"
    )
    monkeypatch.setattr("sys.argv", [str(program), "--config-dir", str(tmp_path / "configs"), "experiment=aten_vip"])
    stage = stages_of("experiment=aten_vip", "profile=paper")["flow"]
    stages._train(stage, tmp_path, None)
    folder, *given = (tmp_path / "given").read_text().split("|")
    assert folder == f"--config-dir={tmp_path / 'configs'}"
    assert given[:2] == ["experiment=flownet_s_chairs", "profile=paper"]


# Which of them are the same


def test_where_a_run_trains_does_not_make_it_another():
    usual = identity("experiment=aten_vip", "profile=paper", synthetic=False)
    for moved in ("data.root=/elsewhere", "data.num_workers=7", "logger=wandb", "outputs=/else", "trainer.devices=4",
                  "roots.flying_chairs=/chairs", "resume=auto", "trainer=ddp", "data.synthetic.seed=5",
                  "trainer.enable_progress_bar=false"):  # fmt: skip
        assert identity("experiment=aten_vip", "profile=paper", moved, synthetic=False) == usual, moved


def test_what_decides_the_weights_makes_it_another():
    settings = ["seed=1", "model.optimizer.lr=0.5", "data.flip=0", "trainer.max_epochs=3", "image_size=256",
                "ablation=aten/l5", "init=[]", "init=[frame]", "stages.frame.overrides=['trainer.max_epochs=9']",
                "profile=demo", "trainer.precision=bf16-mixed", "ema=0.9", "+callbacks=early_stopping"]  # fmt: skip
    several = [identity("experiment=aten_vip", "profile=paper", setting) for setting in settings]
    usual = identity("experiment=aten_vip", "profile=paper")
    assert len({usual, *several, identity("experiment=aten_vip", "profile=paper", synthetic=False)}) == 15


def test_a_class_that_moves_is_the_same_and_another_class_is_not():
    cfg, moved, other = (composed("experiment=flownet_s_chairs") for _ in range(3))
    moved.model._target_ = "partwise.elsewhere.FlowTask"
    moved.data.augment = [{"_target_": "elsewhere.Blur", "limit": 3}]
    other.model._target_ = "partwise.models.flow_task.OtherTask"
    cfg.data.augment = other.data.augment = [{"_target_": "here.Blur", "limit": 3}]
    first, second, third = (stages.identity(each, True, []) for each in (cfg, moved, other))
    assert first == second != third


# Data


def test_missing_data_of_a_stage_are_named_before_anything_is_trained(tmp_path):
    given = ["experiment=aten_vip", "profile=paper", "data.root=/data/VIP", f"outputs={tmp_path}"]
    with pytest.raises(InputError, match=r"stage flow \(experiment=flownet_s_chairs\).*roots\.flying_chairs=DIR"):
        stages.finish(composed(*given), False, given)


def test_missing_data_of_a_stages_own_stage_are_named(tmp_path):
    given = ["experiment=tcnet_outdoor", "profile=paper", "data.root=/data/Outdoor", f"outputs={tmp_path}"]
    with pytest.raises(InputError, match=r"stage chairs \(experiment=tcnet_flow_chairs\).*roots\.flying_chairs=DIR"):
        stages.finish(composed(*given), False, given)


def test_a_stage_on_the_same_dataset_reads_the_same_folder():
    found = stages_of("experiment=aten_vip", "profile=paper", "data.root=/a folder", synthetic=False)
    assert found["frame"].roots == ("data.root=/a folder",)
    assert found["frame"].config.data.root == "/a folder"
    assert found["flow"].config.data.root is None


def test_roots_of_other_datasets_reach_every_stage():
    root = quoted("/chairs, ${HOME} = here")
    (flow,) = stages_of("experiment=tcnet_daily", f"roots.flying_chairs={root}", synthetic=False).values()
    (chairs,) = stages.stages_of(flow.config, False, flow.arguments).values()
    assert chairs.config.data.root == "/chairs, ${HOME} = here"
    assert "roots.flying_chairs=/chairs, ${HOME} = here" in chairs.roots
