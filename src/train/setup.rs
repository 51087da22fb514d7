//! From settings to a plan, and from there to a trainer: everything before the first step.

use super::checkpoint::{self, Progress};
use super::events::Event;
use super::run_dir::{self, Config, RunDir};
use super::settings::{Augment, Settings};
use super::trainer::{Trainer, Work};
use crate::data::{self, Dataset, DatasetName, Labelled, Need, Source};
use crate::engine::profiled::{Profiled, Recorder};
use crate::engine::{Target, autotune};
use crate::error::{Error, Result};
use crate::kernels::choose::Choices;
use crate::method::MethodName;
use crate::model::compile::{Network, Options};
use crate::model::graph::{Node, Op};
use crate::model::state::{self, Tensors};
use crate::model::weights;
use std::path::Path;
use std::sync::Arc;

/// A run that is planned, but has no memory yet.
pub struct Setup {
    /// What the run's configuration and checkpoints will hold.
    pub settings: Settings,
    /// The whole dataset.
    pub source: Source,
    /// The part of its images that is trained on, and the part that is evaluated.
    pub train: Arc<dyn Dataset>,
    pub test: Arc<dyn Dataset>,
    /// For the target, with training.
    pub network: Network,
    /// Where it will run.
    pub target: Target,
    /// What there is to say about how variants were chosen.
    pub notes: Vec<String>,
    /// Records some of the trainer's steps, where it is there.
    pub recorder: Option<Recorder>,
}

impl Setup {
    /// Opens the dataset that `settings` name and plans the network for `target`, by its choices.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Usage`] as [`Settings::open`] has them; those of [`Setup::of`].
    pub fn new(mut settings: Settings, target: Target) -> Result<Setup> {
        settings.check()?;
        let source = settings.open(Need::TrainAndTest)?;
        if settings.dataset == DatasetName::ImageFolder {
            settings.image_size = Some(source.input.image[0]);
        }
        tracing::info!("the dataset is open");
        Setup::of(settings, source, target)
    }

    /// Plans the network for the images of `source`, which may be anybody's, and for `target`, by its choices. Checkpoints call the
    /// dataset `source.name`; they hold its [`Input`](data::Input) too, where that is not the one of this name. Nothing is read
    /// from `settings.data`.
    ///
    /// ```
    /// use shiftnet::data::{Dataset, DatasetName, Input, Source};
    /// use shiftnet::train::{Event, Flags, Setup};
    /// use std::sync::Arc;
    ///
    /// /// Grey images, dark and bright.
    /// struct Greys;
    ///
    /// impl Dataset for Greys {
    ///     fn len(&self) -> usize {
    ///         8
    ///     }
    ///
    ///     fn read(&self, index: usize, pixels: &mut [u8]) -> shiftnet::Result<u32> {
    ///         let label = index as u32 % 2;
    ///         pixels.fill(50 + 150 * label as u8);
    ///         Ok(label)
    ///     }
    /// }
    ///
    /// let classes = vec!["dark".into(), "bright".into()];
    /// let input = Input { classes, image: [8, 12], mean: [0.5; 3], std: [0.25; 3] };
    /// let (train, test) = (Arc::new(Greys), Arc::new(Greys));
    /// let source = Source { name: DatasetName::ImageFolder, input, train, test, notes: vec![] };
    /// let flags = Flags { arch: Some("resnet8".parse()?), batch_size: Some(4), epochs: Some(1), ..Flags::default() };
    /// let setup = Setup::of(flags.resolve()?, source, shiftnet::engine::Target::host())?;
    /// for event in setup.begin(None)? {
    ///     if let Event::Epoch(epoch) = event? {
    ///         println!("{} % of the test images", epoch.val_top1);
    ///     }
    /// }
    /// # Ok::<(), shiftnet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for an illegal setting, fewer images than a batch has and a batch norm without a variance;
    /// [`Error::TooLarge`].
    pub fn of(mut settings: Settings, mut source: Source, target: Target) -> Result<Setup> {
        settings.dataset = source.name;
        settings.check()?;
        let train = data::first(&source.train, settings.limit);
        let test = data::first(&source.test, settings.limit_val);
        let classes = source.input.classes.len();
        for (all, part, kind) in [(&source.train, &train, "training"), (&source.test, &test, "test")] {
            source.notes.extend(data::left_out(all.as_ref(), part.as_ref(), kind, classes));
        }
        if train.len() < settings.batch_size {
            let problem = format!("{} training images", train.len());
            let expected = format!("at least one batch of {} (--batch-size)", settings.batch_size);
            return Err(Error::setting("--limit, or the dataset,", problem, expected));
        }
        if test.is_empty() {
            return Err(Error::setting(
                "the dataset",
                "without test images",
                "one with images to evaluate on",
            ));
        }
        let graph = settings.arch.build(settings.shortcut, source.input.image, source.input.classes.len())?;
        let one_value = |node: &&Node| {
            node.op == Op::BatchNorm && settings.micro_batch() * node.shape[0] * node.shape[1] < 2
        };
        if let Some(node) = graph.nodes.iter().find(one_value) {
            let problem =
                format!("{}, of which {} sees one value a channel", settings.micro_batch(), node.name);
            let expected = "at least 2, so that there is a variance";
            return Err(Error::setting("--batch-size over --accumulate", problem, expected));
        }
        let network = Network::compile_with(
            graph,
            Options {
                method: settings.weight_method()?,
                micro_batch: settings.micro_batch(),
                batch: settings.batch_size,
                hyper: settings.hyper(),
                label_smoothing: settings.label_smoothing,
                mean: source.input.mean,
                std: source.input.std,
                capabilities: target.capabilities(),
                train: true,
            },
            target.choices(),
        )?;
        network.plan.check_limit(target.max_binding(), &target.info().name)?;
        tracing::info!("{} is planned", settings.arch);
        Ok(Setup { settings, source, train, test, network, target, notes: vec![], recorder: None })
    }

    /// Plans again with what measures fastest on the adapter; see [`autotune::measure`].
    ///
    /// # Errors
    /// Those of the measuring runs.
    pub fn autotuned(mut self) -> Result<Setup> {
        let (known, notes) = autotune::measure(&self.target, &self.network.plan)?;
        let choices = Choices { known, ..self.target.choices().clone() };
        let Network { graph, options, .. } = self.network;
        self.network = Network::compile_with(graph, options, &choices)?;
        self.target = self.target.with_choices(choices);
        self.notes.extend(notes);
        Ok(self)
    }

    /// Steps of an epoch: the incomplete last batch is dropped.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.train.len() / self.settings.batch_size) as u64
    }

    /// The configuration to keep with the run.
    pub fn config(&self) -> Config {
        Config {
            version: crate::VERSION.into(),
            settings: self.settings.clone(),
            adapter: self.target.info(),
            variants: self.network.chosen.clone(),
        }
    }

    /// A trainer at step 0, from the seed or from `--init-from`. It warns where it gives the network there another classifier, for as
    /// many classes as the data has.
    pub fn begin(self, run: Option<RunDir>) -> Result<Trainer> {
        let mut other_classes = None;
        let tensors = match &self.settings.init_from {
            None if self.settings.method == MethodName::Inq => {
                let expected = "with a trained network to begin from: --init-from FILE";
                return Err(Error::setting("--method", "inq", expected));
            }
            None => {
                let Settings { init, init_scale, seed, .. } = self.settings;
                state::initial_scaled(&self.network, (init, init_scale), seed)
            }
            Some(path) => {
                let (tensors, classes) = self.initial_from(path)?;
                other_classes = classes.map(|old| {
                    let (path, own) = (path.display(), self.source.input.classes.len());
                    format!("{path} is of {old} classes, the data of {own}: the classifier begins anew")
                });
                tensors
            }
        };
        let mut progress = Progress {
            seed: self.settings.seed,
            settings: self.settings.identity(),
            input: self.input(),
            training_images: self.train.len() as u64,
            ..Progress::default()
        };
        let layers = self.network.store.family_layers.len();
        progress.counters().into_iter().for_each(|counter| counter.resize(layers, 0));
        let mut trainer = self.start(run, &tensors, progress, false)?;
        if let Some(message) = other_classes {
            trainer.emit(Event::Warning { message })?;
        }
        Ok(trainer)
    }

    /// A trainer where the checkpoint of `run` stands, or at step 0 where there is none yet. To go on to the bit, the setup has to be
    /// that of the run's [`RunDir::config`]: of its settings (or of [`Settings::extended`]), for the adapter that it names
    /// ([`Target::again`]), with its variants as [`Target::with_choices`].
    ///
    /// ```no_run
    /// use shiftnet::engine::Target;
    /// use shiftnet::kernels::choose::Choices;
    /// use shiftnet::train::{RunDir, Setup};
    ///
    /// let run = RunDir::new("runs/first");
    /// let config = run.config()?;
    /// let choices = Choices { known: config.variants, ..Choices::default() };
    /// let target = Target::again(&config.adapter)?.with_choices(choices);
    /// let _lock = run.lock()?;
    /// for event in Setup::new(config.settings, target)?.resume(run.clone())? {
    ///     event?;
    /// }
    /// # Ok::<(), shiftnet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the checkpoint is damaged, or of another run, network or dataset; those of [`Setup::begin`].
    pub fn resume(self, run: RunDir) -> Result<Trainer> {
        let path = run.last();
        if !run.has_checkpoint()? {
            return self.begin(Some(run));
        }
        let (mut tensors, mut progress) = checkpoint::read(&path)?;
        state::complete(&self.network, &mut tensors);
        if let Some(problem) = weights::mismatch(&tensors, &state::manifest(&self.network.store)) {
            let remedy = "Resume with the run's own architecture and method: `train --resume RUN` alone does";
            return Err(Error::checkpoint(path, format!("is of another network: {problem}"), remedy));
        }
        let layers = self.network.store.family_layers.len();
        // A checkpoint of before there were all of them has none.
        progress
            .counters()
            .into_iter()
            .filter(|counter| counter.is_empty())
            .for_each(|c| c.resize(layers, 0));
        let of_another = progress.counters().iter().any(|counter| counter.len() != layers);
        if progress.seed != self.settings.seed || of_another {
            return Err(Error::checkpoint(
                path,
                "is of another run than config.toml",
                "Restore the run's own files",
            ));
        }
        // The number of epochs may grow.
        if let Some(name) = self.settings.differs(&progress.settings, &["epochs"]) {
            let problem = format!("was made with another {name} than config.toml says");
            return Err(Error::checkpoint(path, problem, "Restore the run's own config.toml"));
        }
        if progress.input != self.input() {
            let problem = "was trained on other classes than the dataset has now";
            return Err(Error::checkpoint(path, problem, "Restore the dataset, or name it with --data"));
        }
        let images = self.train.len() as u64;
        if ![0, images].contains(&progress.training_images) {
            let problem =
                format!("was trained on {} images, and now there are {images}", progress.training_images);
            return Err(Error::checkpoint(path, problem, "Restore the dataset, or name it with --data"));
        }
        if progress.step_in_epoch >= self.steps_per_epoch() {
            let (step, all) = (progress.step_in_epoch, self.steps_per_epoch());
            let problem = format!("stands at step {step} of an epoch of {all}");
            return Err(Error::checkpoint(path, problem, "Restore the dataset, or the run's own files"));
        }
        progress.training_images = images;
        progress.settings = self.settings.identity();
        self.start(Some(run), &tensors, progress, true)
    }

    /// What the network is fed, where the dataset's name does not say it.
    fn input(&self) -> Option<data::Input> {
        let Source { name, input, .. } = &self.source;
        (name.input().as_ref() != Some(input)).then(|| input.clone())
    }

    /// The tensors to begin with of a file or a run, and of how many classes it is where the data has others.
    fn initial_from(&self, path: &Path) -> Result<(Tensors, Option<usize>)> {
        let path = &run_dir::weights_file(path, false)?;
        let (mut tensors, _) = checkpoint::read_weights(path)?;
        let method = weights::method_of(&tensors);
        // What a schedule has fixed is a trained network's plain weights to begin from.
        let goes_on = method.name == self.settings.method && !method.family().has_schedule();
        if !method.is_discrete() || !goes_on {
            let plain =
                weights::discretize(tensors).map_err(|problem| Error::checkpoint(path, problem, REMEDY))?;
            tensors = state::adopted(&self.network, plain);
        }
        state::complete(&self.network, &mut tensors);
        let other_classes = state::replace_classifier(&self.network, &mut tensors, self.settings.seed);
        let mut wanted = state::manifest(&self.network.store);
        wanted.retain(|name, _| !name.starts_with(state::MOMENTUM));
        let family = self.network.options.method.family();
        if !goes_on && family.adopt(1.0).is_none() && family.alphabet().is_some() {
            let method = self.settings.weight_method()?;
            let problem = format!("has weights from which no latents of {method} follow");
            let remedy = "Begin from a file of that method, or with --method fp32, ternary, inq, deepshift-q or deepshift-ps";
            return Err(Error::checkpoint(path, problem, remedy));
        }
        match weights::mismatch(&tensors, &wanted) {
            None => {
                state::confine(&self.network, &mut tensors);
                Ok((tensors, other_classes))
            }
            Some(problem) => {
                let settings = &self.settings;
                let network = format!("{} with {}", settings.arch, settings.weight_method()?);
                Err(Error::checkpoint(path, format!("does not fit {network}: {problem}"), REMEDY))
            }
        }
    }

    fn start(
        self,
        run: Option<RunDir>,
        tensors: &Tensors,
        progress: Progress,
        resumed: bool,
    ) -> Result<Trainer> {
        let steps_per_epoch = self.steps_per_epoch();
        let mut engine = self.target.load(self.network.plan.clone())?;
        state::upload(engine.as_mut(), &self.network, tensors)?;
        if let Some(recorder) = self.recorder {
            engine = Box::new(Profiled::new(engine, recorder));
        }
        let work = Work {
            augment: self.settings.augment == Augment::Standard && !self.train.varies(),
            settings: self.settings,
            image_bytes: self.source.input.image_bytes(),
            train: Arc::new(Labelled { dataset: self.train, classes: self.network.graph.classes() }),
            test: self.test,
            network: self.network,
            steps_per_epoch,
        };
        Ok(Trainer::new(work, engine, run, progress, resumed))
    }
}

const REMEDY: &str = "Choose the --arch, --shortcut, --method and --bits that the file was made with";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Flags, Stated, Trained};

    /// The tensors that a run begins with.
    fn begun(more: &str) -> Tensors {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = RunDir::new(directory.path());
        let flags =
            format!("arch = 'resnet8'\nbatch-size = 1\nlimit = 1\nlimit-val = 1\nmax-steps = 0\n{more}");
        let settings = toml::from_str::<Flags>(&flags).expect("valid TOML").resolve().expect("legal");
        let setup = Setup::new(settings, Target::host()).expect("built-in images");
        for event in setup.begin(Some(run.clone())).expect("a small network") {
            event.expect("it runs");
        }
        checkpoint::read(&run.last()).expect("a checkpoint").0
    }

    /// Images of two classes, whatever their name.
    fn own(name: DatasetName) -> Source {
        let classes = vec!["even".into(), "odd".into()];
        let input = data::Input { classes, image: [6, 10], mean: [0.5; 3], std: [0.5; 3] };
        let pixels = (0..8 * input.image_bytes()).map(|i| i as u8).collect();
        let images = Arc::new(data::InMemory { pixels, labels: vec![0, 1, 0, 1, 0, 1, 0, 1] });
        Source { name, input, train: images.clone(), test: images, notes: vec![] }
    }

    /// What its name does not say of a dataset, the checkpoint does.
    #[test]
    fn an_own_dataset_is_trained_on_and_known_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let flags: Flags =
            toml::from_str("arch = 'resnet8'\nbatch-size = 2\nmax-steps = 1").expect("valid TOML");
        for name in [DatasetName::Synthetic, DatasetName::ImageFolder] {
            let run = RunDir::new(directory.path().join(name.to_string()));
            let settings = flags.clone().resolve().expect("legal");
            let setup = Setup::of(settings, own(name), Target::host()).expect("planned");
            let _lock = run.create(&setup.config(), false).expect("a directory");
            setup.begin(Some(run.clone())).expect("small").for_each(|event| drop(event.expect("it runs")));
            let trained = Trained::read(&run.last(), Stated::default()).expect("a checkpoint");
            let input = trained.input(name).expect("it was trained on them");
            assert_eq!(input, own(name).input, "{name}");
            trained.fold(input).expect("its own images");
        }
        let mut source = own(DatasetName::Synthetic);
        source.test = data::first(&source.test, Some(0));
        let refused = Setup::of(flags.resolve().expect("legal"), source, Target::host()).err();
        let refused = refused.expect("nothing to evaluate on").to_string();
        assert!(refused.contains("without test images"), "{refused}");
    }

    /// A label that no class has, in training and in the evaluation behind it.
    #[test]
    fn a_label_of_no_class_ends_the_run() {
        let flags: Flags =
            toml::from_str("arch = 'resnet8'\nbatch-size = 8\nepochs = 1").expect("valid TOML");
        for part in [0, 1] {
            let mut setup =
                Setup::of(flags.clone().resolve().expect("legal"), own(DatasetName::Cifar10), Target::host())
                    .expect("planned");
            let pixels = vec![7; 8 * setup.source.input.image_bytes()];
            let wrong = Arc::new(data::InMemory { pixels, labels: vec![0, 1, 0, 1, 0, 2, 0, 1] });
            *[&mut setup.train, &mut setup.test][part] = wrong;
            let refused = setup.begin(None).expect("a small network").find_map(Result::err).expect("label 2");
            assert!(
                refused.to_string().contains("image 5 has label 2, but there are 2 classes"),
                "{refused}"
            );
        }
    }

    /// Settings are checked whoever opened the dataset.
    #[test]
    fn settings_that_an_own_dataset_does_not_allow_are_refused() {
        let legal = Flags::default().resolve().expect("legal");
        for (batch_size, accumulate, problem) in [
            (16, 1, "8 training images"),
            (0, 1, "--batch-size is 0"),
            (4, 3, "--accumulate"),
            (4, 0, "--accumulate"),
        ] {
            let settings = Settings { batch_size, accumulate, ..legal.clone() };
            let refused =
                Setup::of(settings, own(DatasetName::Cifar10), Target::host()).err().expect(problem);
            assert!(refused.to_string().contains(problem), "{refused}");
        }
    }

    /// The order of images follows from their number, so that a resume with another one would be another run.
    #[test]
    fn a_resume_wants_as_many_images() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = RunDir::new(directory.path());
        let flags = "arch = 'resnet8'\nbatch-size = 2\nlimit-val = 1\nepochs = 2\nmax-steps = ";
        let setup = |steps: u64, images: usize| {
            let flags = toml::from_str::<Flags>(&format!("{flags}{steps}")).expect("valid TOML");
            let mut setup =
                Setup::new(flags.resolve().expect("legal"), Target::host()).expect("built-in images");
            setup.train = data::first(&setup.train, Some(images));
            setup
        };
        setup(3, 8).resume(run.clone()).expect("a new run").for_each(|event| drop(event.expect("it runs")));
        let refused = setup(4, 4).resume(run.clone()).err().expect("fewer images").to_string();
        assert!(refused.contains("was trained on 8 images, and now there are 4"), "{refused}");
        setup(4, 8).resume(run).expect("as many").for_each(|event| drop(event.expect("it runs")));
    }

    #[test]
    fn the_initial_scale_is_that_of_latents_alone() {
        let (once, half) = (begun(""), begun("init-scale = 0.5"));
        let mut latents = 0;
        for (name, (_, values)) in &once {
            // A power of two is exact.
            let latent = name.contains(".weight_") && !name.starts_with(state::MOMENTUM);
            let factor = if latent { 0.5 } else { 1.0 };
            latents += usize::from(latent);
            assert!(values.iter().zip(&half[name].1).all(|(a, b)| a * factor == *b), "{name}");
        }
        assert_eq!(latents, 8 * 4, "four latents of eight layers");
    }
}
