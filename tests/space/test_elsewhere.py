"""What people write who know another tool, each with what is meant here."""

import pytest
from spaces import base, space_of

from sweeper.catalogue import DATASETS, LOSSES
from sweeper.errors import SpaceError
from sweeper.records import VAL_METRICS
from sweeper.space import parse_space
from sweeper.space.algorithms import PRUNERS, SAMPLERS, option_types
from sweeper.space.elsewhere import WORDS, is_sentence
from sweeper.space.keys import place_of
from sweeper.space.parameters import FORM_KEYS
from sweeper.space.schema import Compare, Dataset, Resources, Search, Training
from sweeper.text import letters

OPTIONS = {"name", *(option for algorithm in (*SAMPLERS.values(), *PRUNERS.values()) for option in option_types(algorithm))}
PLACES = {
    f"{section.__name__.lower()}.{key}" for section in (Dataset, Training, Compare, Search, Resources) for key in section.model_fields
}
PLACES |= {"name", "seed", "parameters", "resources", "dataset", "parameters.loss", "parameters.learning_rate"}
HERE = {
    "key": PLACES,
    "form": set(FORM_KEYS),
    "option": OPTIONS,
    "loss": set(LOSSES),
    "sampler": set(SAMPLERS),
    "pruner": set(PRUNERS),
    "metric": set(VAL_METRICS),
    "data set": set(DATASETS),
    "flag": {"--results", "--log-to", "--set", "--verbose", "--quiet", "--dry-run"},
}


@pytest.mark.parametrize("kind", WORDS)
def test_a_word_means_one_thing_which_exists_here_and_has_another_name(kind):
    here = {letters(name.rpartition(".")[2]) for name in HERE[kind]}
    seen = set()
    for meant, words in WORDS[kind].items():
        assert is_sentence(meant) or meant in HERE[kind], meant
        for word in words.split():
            assert letters(word) not in seen, f"{word} stands twice"
            seen.add(letters(word))
            assert letters(word) not in here, f"{word} is a name of its own here"


def refusal(data):
    with pytest.raises(SpaceError) as caught:
        space_of(data)
    return {problem.key: problem.message for problem in caught.value.problems}


NO_SCHEDULE = (
    "unknown key; the learning rate follows training.schedule (step, cosine, constant or linear) from epoch to epoch, to 0 at the end"
)

DIRECTION = "follows from search.metric: accuracies and F1 are maximised, the others are minimised; leave it out"


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("", "epochs", "unknown key; did you mean training.epochs?"),
        ("", "lr", "unknown key; did you mean parameters.learning_rate?"),
        ("", "batch_size", "unknown key; did you mean training.batch_size?"),
        ("", "batch-size", "unknown key; did you mean training.batch_size?"),
        ("", "batchSize", "unknown key; did you mean training.batch_size?"),
        ("", "model", "unknown key; did you mean training.model?"),
        ("", "metric", "unknown key; did you mean search.metric?"),
        ("", "loss", "unknown key; did you mean parameters.loss?"),
        ("", "optimizer", "unknown key; did you mean training.optimizer?"),
        ("", "n_trials", "unknown key; did you mean compare.trials_per_arm?"),
        ("", "num_samples", "unknown key; did you mean compare.trials_per_arm?"),
        ("", "seeds", "unknown key; did you mean 'seed', or compare.seeds?"),
        ("", "random_state", "unknown key; did you mean 'seed'?"),
        ("", "method", "unknown key; did you mean search.sampler?"),
        ("", "goal", f"unknown key; {DIRECTION}"),
        ("", "early_terminate", "unknown key; did you mean search.pruner?"),
        ("", "param_space", "unknown key; did you mean 'parameters'?"),
        ("", "hparams", "unknown key; did you mean 'parameters'?"),
        ("", "project", "unknown key; did you mean 'name'?"),
        ("", "data", "unknown key; did you mean 'dataset'?"),
        ("", "program", "unknown key; what trains is built in; leave it out"),
        ("", "num_workers", "unknown key; images are held in memory and need no workers that load them; leave it out"),
        ("training", "lr", "unknown key; did you mean 'learning_rate'?"),
        ("training", "max_epochs", "unknown key; did you mean 'epochs'?"),
        ("training", "num_epochs", "unknown key; did you mean 'epochs'?"),
        ("training", "wd", "unknown key; did you mean 'weight_decay'?"),
        ("training", "seed", "unknown key; did you mean seed at the top level?"),
        ("training", "gamma", "unknown key; did you mean 'step_gamma', or parameters.gamma?"),
        ("training", "optimizer", "must be one of sgd, adamw, got 1"),
        ("training", "lr_scheduler", "unknown key; did you mean 'schedule'?"),
        ("training", "device", "unknown key; trials run on GPUs where there are any: resources.gpus_per_trial: 0 keeps them on the CPU"),
        (
            "training",
            "early_stopping",
            "unknown key; trials are stopped early by search.pruner; 'patient' waits for an improvement",
        ),
        ("training", "loss", "unknown key; did you mean parameters.loss?"),
        ("training", "criterion", "unknown key; did you mean parameters.loss?"),
        ("training", "precision", "must be one of float32, bfloat16, got 1"),
        ("training", "amp", "unknown key; trials compute in 32-bit floats, or with training.precision: bfloat16"),
        ("training", "betas", "unknown key; is two parameters here: beta1 and beta2"),
        ("training", "max_grad_norm", "unknown key; did you mean 'gradient_clip'?"),
        ("training", "momentumm", "unknown key; did you mean 'momentum'?"),
        ("dataset", "root", "unknown key; did you mean 'data_dir'?"),
        ("dataset", "batch_size", "unknown key; did you mean training.batch_size?"),
        ("dataset", "val_split", "unknown key; did you mean 'validation'?"),
        ("dataset", "img_size", "unknown key; did you mean 'image_size'?"),
        ("dataset", "label_column", "unknown key; did you mean 'label'?"),
        ("dataset", "num_classes", "unknown key; the classes are counted in the data; leave it out"),
        ("compare", "n_trials", "unknown key; did you mean 'trials_per_arm'?"),
        ("compare", "num_samples", "unknown key; did you mean 'trials_per_arm'?"),
        ("compare", "n_restarts", "unknown key; did you mean 'searches'?"),
        ("compare", "rope", "unknown key; did you mean 'margin'?"),
        ("compare", "seed", "unknown key; did you mean 'seeds', or seed at the top level?"),
        ("compare", "epochs", "unknown key; did you mean training.epochs?"),
        ("search", "monitor", "unknown key; did you mean 'metric'?"),
        ("search", "scheduler", f"{NO_SCHEDULE}; trials are stopped by search.pruner"),
        ("search", "search_alg", "unknown key; did you mean 'sampler'?"),
        (
            "search",
            "mode",
            f"unknown key; {DIRECTION}",
        ),
        ("search", "n_trials", "unknown key; did you mean compare.trials_per_arm?"),
        ("resources", "gpus", "unknown key; did you mean 'gpus_per_trial'?"),
        ("resources", "cpus", "unknown key; did you mean 'cpus_per_trial'?"),
        ("resources", "workers", "unknown key; images are held in memory and need no workers that load them; leave it out"),
        ("resources", "colour", "unknown key; known: cpus_per_trial, gpus_per_trial, pack, backend, max_failures"),
    ],
)
def test_a_key_of_another_tool_or_level_is_answered_with_where_it_stands(section, key, message):
    defaults = {"dataset": {"name": "synthetic"}}
    data = base(**{key: 1}) if not section else base(**{section: {**defaults.get(section, {}), key: 1}})
    found = refusal(data)
    assert found[f"{section}.{key}".removeprefix(".")] == message
    assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lr", "did you mean 'learning_rate'?"),
        ("mom", "did you mean 'momentum'?"),
        ("seed", "did you mean seed at the top level?"),
        ("n_trials", "did you mean compare.trials_per_arm?"),
        ("adam", "training.optimizer is sgd or adamw"),
        ("dropout", "belongs into a network of your own, training.model: my_nets:MyNet"),
        ("beta", "did you mean 'beta2'?"),
    ],
)
def test_a_parameter_of_another_tool_is_answered_too(name, hint):
    parameters = {**base()["parameters"], name: {"low": 1, "high": 2}}
    (message,) = refusal(base(parameters=parameters)).values()
    assert message == f"no parameter of the losses 'cross_entropy' and 'focal' has this name; {hint}"


@pytest.mark.parametrize(
    ("written", "here"),
    [
        ({"min": 1e-4, "max": 1e-1}, "{low: 0.0001, high: 0.1}"),
        ({"min": 1e-4, "max": 1e-1, "distribution": "log_uniform_values"}, "{low: 0.0001, high: 0.1, log: true}"),
        ({"lower": 1e-4, "upper": 1e-1, "log": True}, "{low: 0.0001, high: 0.1, log: true}"),
        ({"low": 1e-4, "max": 1e-1}, "{low: 0.0001, high: 0.1}"),
        ({"type": "loguniform", "min": 1e-4, "max": 1e-1}, "{low: 0.0001, high: 0.1, log: true}"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}, "{type: int, low: 0, high: 1, step: 0.1}"),
        ({"distribution": "int_uniform", "min": 1, "max": 4}, "{type: int, low: 1, high: 4}"),
        ({"values": [0.1, 0.01]}, "{choices: [0.1, 0.01]}"),
        ({"distribution": "categorical", "values": [0.1, 0.01]}, "{choices: [0.1, 0.01]}"),
        ({"distribution": "constant", "constant": 0.1}, "{value: 0.1}"),
    ],
)
def test_a_range_in_other_words_is_written_out_in_ours(written, here):
    message = refusal(base(parameters={"loss": "l1", "learning_rate": written}))["parameters.learning_rate"]
    assert message.startswith(f"is written {here} here, got {{")
    assert "float" not in here or parse_space(here, "x")


@pytest.mark.parametrize(
    ("written", "here"),
    [
        ("loguniform(1e-4, 1e-1)", "{low: 1e-4, high: 1e-1, log: true}"),
        ("tune.loguniform(1e-4, 1e-1)", "{low: 1e-4, high: 1e-1, log: true}"),
        ("ray.tune.uniform(0.1, 1)", "{low: 0.1, high: 1}"),
        ("interval(0.1, 0.5)", "{low: 0.1, high: 0.5}"),
        ("choice(0.1, 0.2)", "{choices: [0.1, 0.2]}"),
        ("tune.choice([0.1, 0.2])", "{choices: [0.1, 0.2]}"),
        ("tune.grid_search([0.1, 0.2])", "{choices: [0.1, 0.2]}"),
        ("trial.suggest_float('lr', 1e-5, 1e-1, log=True)", "{low: 1e-5, high: 1e-1, log: true}"),
        ("randint(1, 9)", "{type: int, low: 1, high: 9}"),
        ("range(1, 9)", "{type: int, low: 1, high: 9}"),
    ],
)
def test_a_call_of_another_tool_is_written_out_as_a_parameter(written, here):
    found = refusal(base(parameters={"loss": "l1", "learning_rate": written}))
    assert found == {"parameters.learning_rate": f"must be a number, got '{written}'; write {here}"}


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("sampler", "bayes", "tpe"),
        ("sampler", "optuna.samplers.TPESampler", "tpe"),
        ("sampler", "GPSampler", "gp"),
        ("sampler", "BayesOptSearch", "tpe"),
        ("sampler", "sobol", "qmc"),
        ("sampler", "CmaEsSampler", "cmaes"),
        ("pruner", "asha", "successive_halving"),
        ("pruner", "ASHAScheduler", "successive_halving"),
        ("pruner", "SuccessiveHalvingPruner", "successive_halving"),
        ("pruner", "median_pruner", "median"),
        ("pruner", "MedianStoppingRule", "median"),
        ("pruner", "HyperBandForBOHB", "hyperband"),
        ("pruner", "NopPruner", "none"),
        ("pruner", "off", "none"),
        ("metric", "accuracy", "val_accuracy"),
        ("metric", "val_acc", "val_accuracy"),
        ("metric", "test_accuracy", "val_accuracy"),
        ("metric", "loss", "val_loss"),
        ("metric", "nll", "val_nll"),
        ("metric", "ece", "val_ece"),
        ("metric", "f1_macro", "val_macro_f1"),
        ("metric", "balanced_accuracy", "val_balanced_accuracy"),
        ("metric", "top5", "val_top5_accuracy"),
        ("metric", "worst_group_accuracy", "val_worst_class_accuracy"),
    ],
)
def test_an_algorithm_or_metric_of_another_tool_is_answered_with_ours(key, written, meant):
    assert refusal(base(search={key: written})) == {f"search.{key}": f"unknown {key} '{written}'; did you mean '{meant}'?"}


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"name": "successive_halving", "grace_period": 1}, "search.pruner.grace_period: did you mean 'min_resource'?"),
        ({"name": "hyperband", "max_t": 9}, "search.pruner.max_t: did you mean 'max_resource'?"),
        ({"name": "hyperband", "eta": 3}, "search.pruner.eta: did you mean 'reduction_factor'?"),
        ({"name": "median", "mode": "max"}, "search.pruner.mode: follows from search.metric"),
    ],
)
def test_an_option_of_another_tool_is_answered_with_ours(pruner, message):
    key, _, hint = message.partition(": ")
    assert hint in refusal(base(search={"pruner": pruner}))[key]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("CrossEntropyLoss", "did you mean 'cross_entropy'?"),
        ("nll", "did you mean 'cross_entropy'?"),
        ("nn.NLLLoss", "did you mean 'cross_entropy'?"),
        ("sparse_categorical_crossentropy", "did you mean 'cross_entropy'?"),
        ("FocalLoss", "did you mean 'focal'?"),
        ("brier", "did you mean 'mse'?"),
        ("MSELoss", "did you mean 'mse'?"),
        ("LabelSmoothingCrossEntropy", "did you mean 'label_smoothing'?"),
        ("bce", "every image has one class here; that is 'cross_entropy', or one of your own is written my_losses:MyLoss"),
        ("BCEWithLogitsLoss", "every image has one class here; that is 'cross_entropy', or one of your own is written my_losses:MyLoss"),
        ("huber", "one of your own is written my_losses:MyLoss"),
        ("SmoothL1Loss", "one of your own is written my_losses:MyLoss"),
    ],
)
def test_a_loss_of_another_library_is_answered_with_ours(written, hint):
    (message,) = refusal(base(parameters={"loss": written, "learning_rate": 0.1})).values()
    assert message.endswith(f"; {hint}")


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("CIFAR10", "did you mean 'cifar10'?"),
        ("cifar100", "is read from Parquet files: {name: parquet, data_dir: FOLDER}"),
        ("mnist", "is read from Parquet files: {name: parquet, data_dir: FOLDER}"),
        ("ImageFolder", "did you mean 'imagefolder'?"),
        ("huggingface", "did you mean 'parquet'?"),
    ],
)
def test_a_data_set_of_another_library_is_answered_with_the_way_it_is_read(written, hint):
    assert refusal(base(dataset={"name": written})) == {"dataset.name": f"unknown data set '{written}'; {hint}"}


@pytest.mark.parametrize(
    ("section", "value", "way_out"),
    [("dataset", "cifar10", "{name: cifar10}"), ("compare", "loss", "{arms: loss}"), ("search", "tpe", "{sampler: tpe}")],
)
def test_a_text_in_the_place_of_a_section_is_told_how_it_is_written(section, value, way_out):
    found = refusal(base(**{section: value}))
    assert found == {section: f"must be a mapping of keys to values, got '{value}'; write {section}: {way_out}"}


def test_a_key_in_a_mapping_below_a_section_is_answered_with_the_keys_of_that_mapping():
    reference = {"source": "us", "test_acuracy": {"focal": 0.5}}
    found = refusal(base(compare={"arms": "loss", "reference": reference}))
    assert found["compare.reference.test_acuracy"] == "unknown key; did you mean 'test_accuracy'?"


def test_a_parameter_with_a_wrong_name_and_a_wrong_form_is_told_both():
    found = refusal(base(parameters={"loss": "l1", "learning_rate": 0.1, "momentun": [0.8, 0.9]}))
    assert found == {"parameters.momentun": "no parameter has this name; did you mean 'momentum'?"}


def test_what_is_like_nothing_has_no_place():
    assert place_of("colour") is None
    assert place_of("leraning_rate") == "parameters.learning_rate"
