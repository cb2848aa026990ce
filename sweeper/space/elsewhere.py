"""The words of Optuna, Ray Tune, W&B Sweeps, Hydra, Keras, Lightning and timm, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias

from sweeper.text import core, letters, nearest, printable, shown

NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
MOST_CHARACTERS = 80
"""Of a parameter that a message writes out."""

Kind: TypeAlias = Literal["key", "form", "option", "loss", "sampler", "pruner", "metric", "data set", "flag"]
"""Of what a word is the name: a key of a section, a key of a parameter, an option of an algorithm, one of the catalogues, a flag."""

_OPTIMIZER = "training.optimizer is sgd or adamw"
_SCHEDULE = "the learning rate follows training.schedule (step, cosine, constant or linear) from epoch to epoch, to 0 at the end"
_STOPPING = "trials are stopped early by search.pruner; 'patient' waits for an improvement"
_DIRECTION = "follows from search.metric: accuracies and F1 are maximised, the others are minimised; leave it out"
_SIDE_BY_SIDE = "as many trials run side by side as resources.cpus_per_trial and gpus_per_trial leave room for; leave it out"
_IN_MEMORY = "images are held in memory and need no workers that load them; leave it out"
_DEVICE = "trials run on GPUs where there are any: resources.gpus_per_trial: 0 keeps them on the CPU"
_PRECISION = "trials compute in 32-bit floats, or with training.precision: bfloat16"
_NETWORK = "belongs into a network of your own, training.model: my_nets:MyNet"
_AUGMENT = "training.augment is one of none, flip, crop_flip, cutout and randaugment"
_CLASSES = "the classes are counted in the data; leave it out"
_TIME = "there is no limit of time: compare.trials_per_arm and training.epochs bound a sweep"
_LOGGERS = "is a flag: --log-to tensorboard, mlflow or wandb"
_FOLDER = "is a flag: --results FOLDER"
_OWN_LOSS = "one of your own is written my_losses:MyLoss"
_MANY_LABELS = f"every image has one class here; that is 'cross_entropy', or {_OWN_LOSS}"
_FROM_PARQUET = "is read from Parquet files: {name: parquet, data_dir: FOLDER}"
_ONE_METRIC = "one metric is optimised; take 'tpe'"
_FIXED = "a trial keeps its parameters while it trains; take 'successive_halving' or 'hyperband'"

WORDS: Mapping[Kind, Mapping[str, str]] = {
    "key": {
        "training.epochs": "epoch n_epoch n_epochs num_epoch num_epochs max_epoch max_epochs num_train_epochs iterations "
        "training_iteration",
        "training.batch_size": "bs batch batches train_batch_size per_device_train_batch_size",
        "training.model": "arch architecture network net backbone model_name",
        "training.augment": "aug augmentation augmentations data_augmentation transform transforms",
        "training.momentum": "mom sgd_momentum",
        "parameters.learning_rate": "lr lr0 base_lr init_lr initial_lr max_lr learning_rate_init",
        "training.weight_decay": "wd decay l2 l2_penalty regularization",
        "training.step_size": "lr_step lr_step_size decay_epochs decay_steps",
        "training.step_gamma": "lr_gamma lr_decay decay_rate lr_decay_rate",
        "parameters.loss": "losses criterion criteria loss_fn loss_fun loss_func loss_function",
        "parameters": "param_space search_space space spaces params hyperparameters hparams",
        "compare.trials_per_arm": "n_trials num_trials max_trials trials trial num_samples n_samples samples n_iter budget run_cap runs",
        "compare.searches": "n_searches num_searches n_studies num_studies studies n_restarts num_restarts restarts replicates "
        "n_replicates meta_trials",
        "compare.margin": "rope equivalence_margin equivalence_bound sesoi smallest_effect",
        "compare.seeds": "n_seeds num_seeds repeats n_repeats repetitions replications executions_per_trial",
        "search.metric": "monitor objective eval_metric target_metric",
        "search.sampler": "method search_alg search_algorithm algorithm algo tuner search_method strategy",
        "search.pruner": "early_terminate early_termination trial_scheduler",
        "resources.gpus_per_trial": "gpu gpus num_gpus n_gpus n_gpu devices gpu_per_trial",
        "resources.cpus_per_trial": "cpu cpus num_cpus n_cpus cpu_per_trial threads n_threads num_threads",
        "resources.max_failures": "max_retries retries n_retries max_restarts",
        "resources.pack": "packs pack_size packing",
        "resources": "resources_per_trial trial_resources",
        "dataset": "data datasets train_data training_data",
        "dataset.name": "dataset_name data_name",
        "dataset.data_dir": "data_path data_root data_folder dataset_path dataset_dir root path dir folder directory train_dir",
        "dataset.validation": "val valid val_split validation_split val_size valid_size validation_size n_val val_fraction test_size",
        "dataset.image_size": "img_size imgsz resolution size input_size image_shape input_shape side resize",
        "dataset.image": "image_column img_column image_key input_key image_col",
        "dataset.label": "label_column label_key target_column target_key label_col",
        "seed": "random_seed random_state rng_seed manual_seed global_seed torch_seed numpy_seed",
        "name": "project study_name experiment experiment_name exp_name run_name title sweep_name",
        "training.optimizer": "optimiser optim opt optimizer_name optimizer_class",
        _OPTIMIZER: "adam adamw amsgrad eps",
        "is two parameters here: beta1 and beta2": "betas adam_betas",
        "training.schedule": "lr_scheduler lr_schedule learning_rate_schedule learning_rate_scheduler lr_scheduler_type sched",
        "training.warmup_epochs": "warmup n_warmup_epochs lr_warmup_epochs",
        _SCHEDULE: "warmup_steps cosine min_lr steps_per_epoch",
        f"{_SCHEDULE}; trials are stopped by search.pruner": "scheduler schedulers",
        _STOPPING: "early_stopping early_stop early_stopping_rounds stopper stop patience callbacks",
        _DIRECTION: "goal direction directions mode maximize minimize maximise minimise greater_is_better",
        _SIDE_BY_SIDE: "n_jobs max_concurrent max_concurrent_trials concurrency parallel parallelism num_workers_per_trial",
        _IN_MEMORY: "workers num_workers n_workers dataloader_workers pin_memory prefetch_factor persistent_workers cache",
        _DEVICE: "device accelerator cuda use_gpu use_cuda no_cuda mps",
        _PRECISION: "amp fp16 bf16 mixed_precision dtype half compile torch_compile channels_last",
        _NETWORK: "dropout drop drop_rate drop_path hidden_size hidden_dim n_layers num_layers depth width channels pretrained filters",
        _AUGMENT: "mixup cutmix auto_augment aa randaugment cutout random_erasing color_jitter hflip",
        _CLASSES: "n_classes num_classes n_labels num_labels class_names classes",
        _TIME: "timeout time_budget time_budget_s max_time time_limit",
        _LOGGERS: "logger loggers log_to wandb tensorboard mlflow logging",
        _FOLDER: "results result output out output_dir log_dir save_dir storage storage_path local_dir results_dir",
        "is a command: sweep resume SWEEP": "resume resume_from checkpoint ckpt_path load_if_exists",
        "training.gradient_clip": "clip grad_clip clip_grad gradient_clip_val max_grad_norm clip_grad_norm max_norm",
        "the weights of a trial are those of its last step; leave it out": "ema model_ema swa",
        "every step takes one batch; leave it out": "accumulate_grad_batches grad_accum gradient_accumulation_steps accum_iter",
        "training images are drawn in an order that follows from the trial's seed; leave it out": "shuffle",
        "images are normalised by dataset.mean and dataset.std": "normalize normalise normalization rescale",
        "what trains is built in; leave it out": "program command entity entrypoint trainable script main defaults hydra",
    },
    "form": {
        "low": "min minimum lower lower_bound lo start from",
        "high": "max maximum upper upper_bound hi stop end to",
        "choices": "values categories options grid grid_search items list one_of any_of choice categorical",
        "value": "constant const fixed val default",
        "log": "log_scale logarithmic log_uniform log10 use_log",
        "step": "q quantization quantum step_size increment resolution",
        "type": "dtype kind param_type",
        "when": "if condition conditions only_if depends_on conditional",
        "log: true is uniform in the logarithm, type: int takes whole numbers": "distribution dist sampling prior",
        "the sampler weighs the choices; leave it out": "probabilities probability weights p",
    },
    "option": {
        "min_resource": "grace_period min_iter min_t min_epochs min_budget min_r",
        "max_resource": "max_t max_iter max_epochs max_budget",
        "reduction_factor": "eta rf halving_factor",
        "n_startup_trials": "n_initial_points n_init num_init random_trials n_random_steps num_initial_points warmup_trials "
        "min_samples_required",
        "n_warmup_steps": "warmup grace warmup_epochs",
        "popsize": "population_size population",
        "min_delta": "delta tolerance tol",
        "name": "type _target_ class_name",
        _DIRECTION: "mode metric direction goal time_attr",
    },
    "loss": {
        "cross_entropy": "ce nll nll_loss negative_log_likelihood log_loss logistic softmax softmax_cross_entropy "
        "categorical_cross_entropy "
        "sparse_categorical_cross_entropy soft_target_cross_entropy xent",
        "focal": "sigmoid_focal categorical_focal_cross_entropy",
        "mse": "l2 mean_squared_error brier brier_score squared_error",
        "mae": "mean_absolute_error",
        "l1": "absolute_error",
        "label_smoothing": "ls lsr smooth smoothed label_smooth label_smoothing_cross_entropy smooth_ce",
        "generalized_cross_entropy": "gce generalised_cross_entropy lq",
        "poly1": "poly poly_loss poly1_cross_entropy",
        _MANY_LABELS: "bce bce_with_logits binary_cross_entropy multi_label_soft_margin asl asymmetric",
        _OWN_LOSS: "huber smooth_l1 hinge multi_margin margin kl kl_div kldivergence dice tversky triplet cosine contrastive "
        "arcface center_loss symmetric_cross_entropy sce nce logit_adjusted ldam",
    },
    "sampler": {
        "tpe": "bayes bayesian bayes_opt bayesian_optimization optuna hyperopt bohb hebo optuna_search hyperopt_search parzen",
        "gp": "gaussian gaussian_process gp_ei botorch skopt ax ei",
        "random": "basic_variant basic_variant_generator random_search uniform",
        "grid": "brute_force grid_search exhaustive",
        "cmaes": "cma evolution evolutionary nevergrad es",
        "qmc": "sobol halton quasi_monte_carlo latin_hypercube lhs",
        _ONE_METRIC: "nsga nsgaii nsgaiii nsga2 nsga3 genetic",
    },
    "pruner": {
        "successive_halving": "asha asha_scheduler async_hyperband async_successive_halving sha sh racing",
        "hyperband": "hb bohb hyperband_for_bohb",
        "median": "median_stopping median_stop median_stopping_rule",
        "none": "no nop noop null off false fifo disabled no_pruner",
        "patient": "patience early_stopping plateau trial_plateau trial_plateau_stopper",
        _FIXED: "pbt pb2 population_based population_based_training population_based_bandits",
    },
    "metric": {
        "val_accuracy": "acc acc1 accuracy val_acc valid_acc validation_accuracy top1 top1_accuracy mean_accuracy eval_accuracy "
        "test_accuracy "
        "test_acc score error val_error",
        "val_loss": "loss valid_loss validation_loss eval_loss test_loss train_loss",
        "val_nll": "nll log_loss cross_entropy val_cross_entropy negative_log_likelihood",
        "val_ece": "ece calibration calibration_error",
        "val_brier": "brier brier_score mse",
        "val_balanced_accuracy": "bal_acc val_bal_acc mean_recall macro_recall recall_macro uar mean_class_accuracy",
        "val_macro_f1": "f1 f1_score f1_macro macro_f1_score val_f1 val_f1_score",
        "val_top5_accuracy": "acc5 top5 top5_acc val_acc5 val_top5 top_k_accuracy",
        "val_worst_class_accuracy": "worst_class worst_accuracy worst_group_accuracy min_recall worst_class_recall",
    },
    "data set": {
        "cifar10": "cifar",
        "imagefolder": "folder folders images directory pictures",
        "synthetic": "fake fake_data random toy generated dummy",
        "parquet": "huggingface hf hub pq",
        _FROM_PARQUET: "cifar100 mnist fashion_mnist kmnist emnist svhn stl10 imagenet imagenet1k "
        "tiny_imagenet food101 "
        "flowers102 caltech101 pets oxford_iiit_pet eurosat gtsrb beans cats_vs_dogs",
    },
    "flag": {
        "--results": "output out output_dir log_dir save_dir result results_dir storage storage_path local_dir dir",
        "--log-to": "logger loggers log",
        "--log-to wandb": "wandb use_wandb",
        "--log-to tensorboard": "tensorboard tb",
        "--log-to mlflow": "mlflow",
        "the space file is the argument: sweep run FILE": "config config_file config_path cfg space file yaml space_file",
        "use the command sweep resume SWEEP": "resume checkpoint ckpt load",
        "--set": "override overrides param parameter settings setting",
        "--verbose": "debug loud",
        "--quiet": "silent",
        "--dry-run": "plan estimate preview",
    },
}
"""For each kind: what is meant here, and the words for it. What is meant is a name, a dotted key, a flag, or a sentence (it has spaces)."""


_MEANT: Mapping[Kind, Mapping[str, str]] = {
    kind: {letters(word): meant for meant, words in table.items() for word in words.split()} for kind, table in WORDS.items()
}


def meant_by(word: str, kind: Kind) -> str | None:
    """What is meant here by a word of another tool, ``None`` if it is not known."""
    return _MEANT[kind].get(letters(word.rpartition(".")[2])) or _MEANT[kind].get(core(word))


def is_sentence(meant: str) -> bool:
    """Whether what is meant is no name here, but something to say."""
    return " " in meant


def words(kind: Kind) -> tuple[str, ...]:
    """Every word of a kind, as letters."""
    return tuple(_MEANT[kind])


def suggestion(name: object, known: Iterable[object], kind: Kind) -> str:
    """As :func:`sweeper.text.nearest`, and the name here for another tool's word for a ``kind`` of names.

    For what another tool has and this one not, a sentence says what there is instead.
    """
    names = [str(entry) for entry in known]
    meant = meant_by(str(name)[:200], kind) if names else None
    if meant is None or not (is_sentence(meant) or meant in names):
        return nearest(name, names)
    return meant if is_sentence(meant) else f"did you mean '{printable(meant)}'?"


def translated(raw: Mapping[str, Any], forms: Collection[str]) -> str | None:
    """A parameter in the words of other tools in those of this one, ``forms``; ``None`` where it is not made of such words."""
    here: dict[str, Any] = {}
    for key, value in raw.items():
        meant = key if key in forms else meant_by(str(key), "form")
        if meant is not None and meant in forms and meant != "type":
            here[meant] = value
        elif isinstance(value, str) and (meant == "type" or letters(str(key)) in ("distribution", "dist")):
            here |= _type_here(value)
        else:
            return None
    return in_one_line({key: here[key] for key in forms if key in here}) if here.keys() & {"choices", "value", "low"} else None


def _type_here(word: str) -> dict[str, Any]:
    """The keys that say what a distribution or a type of another tool says."""
    name = letters(word)
    is_whole = name.startswith(("int", "q", "discrete")) or name.endswith(("int", "integer"))
    return {**({"type": "int"} if is_whole and "float" not in name else {}), **({"log": True} if "log" in name else {})}


def as_parameter(text: str) -> str | None:
    """``loguniform(1e-4, 1e-1)``, as Ray Tune, Optuna or Hydra writes it, as it is written here."""
    call = re.fullmatch(r"(?:\w+\.)*(\w+)\((.*)\)", text.strip())
    if call is None:
        return None
    name, arguments = letters(call[1]), [part.strip(" []'\"") for part in call[2].split(",")]
    if name in ("choice", "choices", "gridsearch", "categorical", "suggestcategorical"):
        return f"{{choices: [{', '.join(arguments)}]}}"
    ends = [part for part in arguments if re.fullmatch(NUMBER, part)][:2]
    if len(ends) < 2 or not re.search("uniform|interval|range|int|float", name):
        return None
    whole = "type: int, " if re.search("int(?!erval)|range", name) else ""
    is_log = "log" in name or re.search(r"log\s*=\s*[Tt]rue", text) is not None
    return f"{{{whole}low: {ends[0]}, high: {ends[1]}{', log: true' if is_log else ''}}}"


def in_one_line(raw: Mapping[str, Any]) -> str | None:
    """A short mapping of plain values as YAML writes it in one line; ``None`` if it is long or holds anything else."""
    values = [each for value in raw.values() for each in (value if isinstance(value, list) else [value])]
    if not all(isinstance(value, bool | int | float | str) for value in values):
        return None
    parts = ", ".join(f"{key}: {_one_value(value)}" for key, value in raw.items())
    return f"{{{parts}}}" if len(parts) <= MOST_CHARACTERS else None


def _one_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_one_value, value))}]"
    return printable(value) if isinstance(value, str) else shown(value)
