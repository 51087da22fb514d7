//! Every shader through naga, without a GPU: that it is what its binding in Rust says, keeps to the limits
//! of every WebGPU device, and translates to every backend.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner, back};
use shiftnet::kernels::conv2d_forward::Params as Conv;
use shiftnet::kernels::{self, Access, Kernel, Needs, Step, Variant, conv2d_shift, latent_update, source};
use shiftnet::plan::Elem;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The default limits of WebGPU.
const MOST_STORAGE_BUFFERS: usize = 8;
const MOST_WORKGROUP_BYTES: u32 = 16 << 10;

fn parse(text: String) -> Result<(String, Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    // The one feature beyond the defaults that a shader may use, and only one that says so.
    let capabilities = if text.contains("subgroup") { Capabilities::SUBGROUP } else { Capabilities::empty() };
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(&text))?;
    Ok((text, module, info))
}

/// Fails, with both sides, unless they are equal.
fn same<T: PartialEq + Debug>(what: &str, shader: T, rust: T) -> Result<(), String> {
    if shader == rust { Ok(()) } else { Err(format!("{what}: {shader:?} in the shader, {rust:?} in Rust")) }
}

/// Names and offsets of a struct's members, and its size.
fn layout(inner: &TypeInner) -> (Vec<(&str, usize)>, usize) {
    let TypeInner::Struct { members, span } = inner else { panic!("{inner:?} is no struct") };
    let member = |m: &'_ naga::StructMember| m.offset as usize;
    let names = members.iter().map(|m| m.name.as_deref().expect("WGSL's members have names"));
    (names.zip(members.iter().map(member)).collect(), *span as usize)
}

/// The storage binding that a shader declares, as a kernel would.
fn binding<'m>(module: &'m Module, variable: &'m naga::GlobalVariable) -> (&'m str, Access, Elem) {
    let AddressSpace::Storage { access } = variable.space else { panic!("{variable:?} is not in storage") };
    let access = if access.contains(StorageAccess::STORE) { Access::Write } else { Access::Read };
    let mut inner = &module.types[variable.ty].inner;
    if let TypeInner::Array { base, .. } = inner {
        inner = &module.types[*base].inner;
    }
    let elem = match inner {
        // A struct of mixed fields is bound as words.
        TypeInner::Struct { .. } => Elem::U32,
        TypeInner::Atomic(scalar) | TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => {
            match scalar.kind {
                ScalarKind::Float => Elem::F32,
                ScalarKind::Uint => Elem::U32,
                kind => panic!("{kind:?} elements have no type in plans"),
            }
        }
        other => panic!("{other:?} elements have no type in plans"),
    };
    (variable.name.as_deref().expect("WGSL's variables have names"), access, elem)
}

/// Whether a block stores to a single component of a vector that other invocations see. Backends may write the whole vector then,
/// over what another invocation wrote to another component.
fn stores_components(block: &naga::Block, types: &naga::valid::FunctionInfo, module: &Module) -> bool {
    use naga::Statement::{Block, If, Loop, Store, Switch};
    block.iter().any(|statement| match statement {
        Store { pointer, .. } => matches!(
            types[*pointer].ty.inner_with(&module.types),
            TypeInner::ValuePointer {
                space: AddressSpace::WorkGroup | AddressSpace::Storage { .. },
                size: None,
                ..
            }
        ),
        Block(inner) => stores_components(inner, types, module),
        If { accept, reject, .. } => {
            [accept, reject].into_iter().any(|b| stores_components(b, types, module))
        }
        Switch { cases, .. } => cases.iter().any(|case| stores_components(&case.body, types, module)),
        Loop { body, continuing, .. } => {
            [body, continuing].into_iter().any(|b| stores_components(b, types, module))
        }
        _ => false,
    })
}

/// Every shader with its kernel.
fn shaders() -> impl Iterator<Item = (&'static Kernel, &'static Variant)> + Clone {
    kernels::all().flat_map(|kernel| kernel.variants.iter().map(move |variant| (kernel, variant)))
}

/// That `source`, in place of `variant`'s, has the interface of `kernel` and keeps to the limits.
fn check(kernel: &Kernel, variant: &Variant, source: &str) -> Result<(), String> {
    let (text, module, info) = parse(variant.text_of(source))?;
    same("need of subgroups", text.contains("subgroup_invocation_id"), variant.needs == Needs::Subgroups)?;
    let [entry] = &module.entry_points[..] else { return Err("not one entry point".into()) };
    same("entry point", entry.name.as_str(), "main")?;
    same("workgroup", entry.workgroup_size, [variant.workgroup, 1, 1])?;

    let mut bound: Vec<_> = module.global_variables.iter().filter(|(_, v)| v.binding.is_some()).collect();
    bound.sort_by_key(|(_, v)| v.binding.map(|b| (b.group, b.binding)));
    let places: Vec<_> = bound.iter().filter_map(|(_, v)| v.binding).map(|b| (b.group, b.binding)).collect();
    same("numbers of the bindings", places, (0..=kernel.bindings.len() as u32).map(|i| (0, i)).collect())?;
    let (uniform, storage) = bound.split_first().ok_or("no bindings")?;
    same("space of the parameters", uniform.1.space, AddressSpace::Uniform)?;
    let params = (kernel.params.to_vec(), kernel.params.len() * 4);
    same("parameters", layout(&module.types[uniform.1.ty].inner), params)?;
    let storage: Vec<_> = storage.iter().map(|(_, variable)| binding(&module, variable)).collect();
    let expected = kernel.bindings.iter().map(|b| (b.name, b.access, b.elem)).collect();
    same("bindings", storage, expected)?;
    if kernel.bindings.len() > MOST_STORAGE_BUFFERS {
        return Err(format!("{} storage buffers", kernel.bindings.len()));
    }

    let workgroup = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    let bytes: u32 = workgroup.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum();
    if bytes > MOST_WORKGROUP_BYTES {
        return Err(format!("{bytes} bytes of workgroup memory"));
    }
    let bodies = module.functions.iter().map(|(handle, function)| (&function.body, &info[handle]));
    let mut bodies = bodies.chain([(&entry.function.body, info.get_entry_point(0))]);
    if bodies.any(|(body, types)| stores_components(body, types, &module)) {
        return Err("a store to a component of a shared vector".into());
    }
    // naga accepts a barrier that some invocations do not reach; browsers and some drivers do not.
    let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let main = code.join("\n").split("fn main").nth(1).unwrap_or_default().to_string();
    let mut words = main.split(|c: char| !c.is_alphanumeric() && c != '_');
    if code.join("\n").contains("workgroupBarrier") && words.any(|word| word == "return") {
        return Err("`return` in a kernel with a barrier".into());
    }
    Ok(())
}

#[test]
fn shaders_have_their_kernels_interface() {
    let check = |(k, v): (&Kernel, &Variant)| {
        check(k, v, v.source).err().map(|e| format!("{} {}: {e}", k.stem, v.name))
    };
    let wrong: Vec<String> = shaders().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check itself: it objects to each of these, and for the reason given.
#[test]
fn wrong_shaders_are_refused() {
    let broken = [
        ("max_pool", "h: u32, w: u32", "w: u32, h: u32", "parameters"),
        ("max_pool", "q: u32,", "q: u32, more: u32,", "parameters"),
        ("max_pool", "q: u32,", "@align(16) q: u32,", "parameters"),
        ("max_pool", "read> x", "read_write> x", "bindings"),
        ("max_pool", "winner: array<vec4<u32>>", "winner: array<vec4<i32>>", "vec4"),
        ("max_pool", "@binding(1)", "@binding(4)", "numbers of the bindings"),
        ("add", "@workgroup_size(64)", "@workgroup_size(32, 2)", "workgroup"),
        ("add", "fn main", "fn start", "entry point"),
        ("shortcut_a_backward", "dy", "gradient", "bindings"),
        ("add", "y[i] = a[i]", "y[i] = maximum(a[i])", "maximum"),
        ("add", "y[i] = a[i]", "y[i].x = 0.0; y[i] = a[i]", "a component of a shared vector"),
        ("add", "y[i] = a[i]", "y[i][i % 4u] = 0.0; y[i] = a[i]", "a component of a shared vector"),
        (
            "softmax_cross_entropy",
            "    workgroupBarrier();",
            "    while run > 0u { if run > 1u { runs[run].y = 1.0; } break; }\n    workgroupBarrier();",
            "a component of a shared vector",
        ),
        (
            "softmax_cross_entropy",
            "runs: array<vec4<f32>, 64>",
            "runs: array<vec4<f32>, 1025>",
            "16400 bytes",
        ),
        (
            "softmax_cross_entropy",
            "    workgroupBarrier();",
            "    if run == 0u { return; }\n    workgroupBarrier();",
            "`return`",
        ),
    ];
    for (stem, from, to, reason) in broken {
        let kernel = kernels::get(stem);
        let right = kernel.variants[0].source;
        let source = right.replace(from, to);
        assert!(source != right, "{stem} has no `{from}`");
        let problem =
            check(kernel, &kernel.variants[0], &source).expect_err(&format!("{stem} with `{to}` is refused"));
        assert!(problem.contains(reason), "{stem} with `{to}`: {problem}");
    }
}

#[test]
fn step_has_the_layout_of_its_twin() {
    let fields = vec![
        ("step", offset_of!(Step, step)),
        ("slot", offset_of!(Step, slot)),
        ("micro", offset_of!(Step, micro)),
        ("first", offset_of!(Step, first)),
        ("seed", offset_of!(Step, seed)),
        ("lr", offset_of!(Step, lr)),
        ("augment", offset_of!(Step, augment)),
    ];
    let users = shaders().filter(|(_, variant)| variant.source.contains("#import step"));
    assert!(users.clone().count() >= 3);
    for (kernel, variant) in users {
        let (_, module, _) = parse(variant.text()).expect("shaders parse");
        let step = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Step"));
        let (_, step) = step.expect("the import declares it");
        assert_eq!(layout(&step.inner), (fields.clone(), size_of::<Step>()), "{}", kernel.stem);
    }
}

/// The texts that adapters compile of a shader: with its parameters as a uniform, and where it is specialized, those of some
/// convolutions as constants.
fn texts(kernel: &Kernel, variant: &Variant) -> Vec<String> {
    const SHAPES: [([usize; 4], usize, usize, usize); 6] = [
        ([1, 32, 32, 4], 16, 3, 1),
        ([8, 8, 8, 64], 64, 3, 1),
        ([2, 5, 7, 12], 20, 3, 2),
        ([2, 7, 7, 512], 2048, 1, 1),
        ([1, 56, 56, 64], 128, 1, 2),
        ([1, 224, 224, 4], 64, 7, 2),
    ];
    let shapes = SHAPES.map(|(from, k, size, stride)| Conv::new(from, k, size, stride)).into_iter();
    let params: Vec<Vec<u8>> = match kernel.stem {
        _ if !variant.specialized => vec![],
        "conv2d_dot" | "conv2d_shift" => {
            let forms = [(8, 31), (8, 0), (16, 0)];
            let of = |(bits, run)| move |conv| conv2d_shift::Params::new(&conv, bits, [0, 16, 16], run);
            let fitting = shapes.filter(|conv| variant.fits(conv));
            let all = fitting.flat_map(|conv| forms.map(|form| of(form)(conv)));
            all.map(|params| bytemuck::bytes_of(&params).to_vec()).collect()
        }
        _ => shapes
            .filter(|conv| variant.fits(conv))
            .flat_map(|conv| [0, 1].map(|on| Conv { stats: on, relu: on, residual: on, ..conv }))
            .map(|conv| bytemuck::bytes_of(&conv).to_vec())
            .collect(),
    };
    let text = variant.text();
    let constant = params.iter().map(|params| source::specialize(&text, params));
    [text.clone()].into_iter().chain(constant).collect()
}

/// That `text` can be compiled by every backend, with naga's checks (`--checked`) or without them, as programs run it.
fn translate(what: &str, text: String, workgroup: u32, checked: bool) {
    use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy::Restrict, BoundsCheckPolicy::Unchecked};
    let (_, module, info) = parse(text).unwrap_or_else(|e| panic!("{what}: {e}"));
    let [index, buffer] = [if checked { Restrict } else { Unchecked }; 2];
    let bounds_check_policies = BoundsCheckPolicies { index, buffer, ..Default::default() };
    // Workgroup memory begins as it is, with checks or without.
    let options = back::spv::Options {
        bounds_check_policies,
        zero_initialize_workgroup_memory: back::spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let spirv = back::spv::write_vec(&module, &info, &options, None);
    assert!(spirv.is_ok_and(|words| words.len() > 100), "{what} to SPIR-V");

    let options = back::msl::Options {
        lang_version: (2, 1),
        bounds_check_policies,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let metal = back::msl::write_string(&module, &info, &options, &Default::default());
    let (metal, _) = metal.unwrap_or_else(|e| panic!("{what} to Metal: {e}"));
    assert!(metal.contains("kernel void main_"), "{what} to Metal");
    assert!(checked || !metal.contains("naga_div("), "{what} to Metal has a check");

    // By FXC, and by DXC on adapters without and with dot products of bytes.
    use back::hlsl::ShaderModel::{V5_1, V6_0, V6_4};
    for shader_model in [V5_1, V6_0, V6_4] {
        let options = back::hlsl::Options {
            shader_model,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: checked,
            force_loop_bounding: checked,
            ..Default::default()
        };
        let mut hlsl = String::new();
        let pipeline = back::hlsl::PipelineOptions::default();
        let mut writer = back::hlsl::Writer::new(&mut hlsl, &options, &pipeline);
        writer.write(&module, &info, None).unwrap_or_else(|e| panic!("{what} to HLSL {shader_model:?}: {e}"));
        assert!(hlsl.contains(&format!("numthreads({workgroup}, 1, 1)")), "{what} to HLSL");
        // A namespace of DXC's, which naga does not know of.
        let mut words = hlsl.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(words.all(|word| word != "dx"), "{what}: DXC takes nothing called `dx`");
    }
}

#[test]
fn shaders_translate_to_every_backend() {
    let mut specialized = 0;
    for (kernel, variant) in shaders() {
        let texts = texts(kernel, variant);
        assert!(!variant.specialized || texts.len() > 2, "{} {} fits no shape", kernel.stem, variant.name);
        specialized += texts.len() - 1;
        for (i, text) in texts.into_iter().enumerate() {
            let what = format!("{} {}, text {i}", kernel.stem, variant.name);
            for checked in [false, true] {
                translate(&what, text.clone(), variant.workgroup, checked);
            }
        }
    }
    assert!(specialized > 100, "{specialized}");
}

/// The text from the first `open` on to where it is closed again.
fn enclosed(text: &str, [open, close]: [char; 2]) -> &str {
    let begin = text.find(open).expect("it is opened");
    let mut depth = 0;
    for (at, c) in text[begin..].char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return &text[begin..=begin + at];
        }
    }
    panic!("{text} does not close what it opens")
}

/// The heads of loops with a barrier in them.
fn loops_with_barriers(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect();
    let code = code.join("\n");
    let word = |at: usize, keyword: &str| {
        let around = [code[..at].chars().next_back(), code[at + keyword.len()..].chars().next()];
        !around.iter().flatten().any(|c| c.is_alphanumeric() || *c == '_')
    };
    let keywords = ["for", "while", "loop"].into_iter();
    let places = keywords.flat_map(|keyword| code.match_indices(keyword)).filter(|&(at, k)| word(at, k));
    let loops = places.map(|(at, _)| &code[at..]).map(|from| {
        let head = &from[..from.find('{').expect("a loop has a body")];
        (head.trim().to_string(), enclosed(from, ['{', '}']))
    });
    loops.filter(|(_, body)| body.contains("Barrier()")).map(|(head, _)| head).collect()
}

/// FXC, which compiles for DX12, refuses barriers in other loops, where one before them depends on the invocation (its error X3663).
#[test]
fn loops_with_barriers_count() {
    let counts = |head: &str| {
        let last = head.trim_end_matches(')').rsplit(';').next().unwrap_or_default();
        head.starts_with("for") && (last.ends_with("++") || last.contains(" += "))
    };
    let heads: BTreeSet<String> =
        shaders().flat_map(|(_, variant)| loops_with_barriers(&variant.text())).collect();
    assert!(heads.len() > 3, "{heads:?}");
    assert!(heads.iter().all(|head| counts(head)), "{heads:?}");
    let halved = "for (var n = rows; n > 1u; n = n / 2u) { if n < x { y(); } workgroupBarrier(); } // loop {";
    let heads = loops_with_barriers(halved);
    assert!(heads.len() == 1 && !counts(&heads[0]), "{heads:?}");
    assert!(!counts(&loops_with_barriers("while n > 1u { n--; storageBarrier(); }")[0]));
}

/// Where `npm install` has put Dawn's module, which has Tint in it; says why where there is none.
fn tint() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tint");
    let found = path.join("node_modules/webgpu").exists();
    if !found {
        eprintln!("skipped: there is no Tint at {}, where test.sh puts it", path.display());
    }
    found.then_some(path)
}

/// What Chrome compiles: its compiler, unlike naga, refuses barriers that it cannot show that all invocations reach.
#[test]
fn tint_compiles_every_shader() {
    let Some(tint) = tint() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut count = 0;
    for (kernel, variant) in shaders() {
        for (i, text) in texts(kernel, variant).into_iter().enumerate() {
            // naga does not know the extension's name. Eight lanes of a subgroup go one way, not all of it.
            let text = match variant.needs {
                Needs::Subgroups => {
                    format!("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n{text}")
                }
                _ => text,
            };
            let file = folder.path().join(format!("{}.{}.{i}.wgsl", kernel.stem, variant.name));
            std::fs::write(file, text).expect("a text is written");
            count += 1;
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tint/check.mjs");
    let output = Command::new("node").arg(script).arg(tint).arg(folder.path()).output().expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("{count} shaders, 0 refused")), "{said}{output:?}");
    assert!(output.status.success(), "{output:?}");
}

/// With the parameters as constants it is the same shader, of which nothing is left that asks for them.
#[test]
fn parameters_can_be_constants() {
    let mut count = 0;
    for (kernel, variant) in shaders().filter(|(_, variant)| variant.specialized) {
        let values: Vec<u32> = (0..kernel.params.len() as u32).map(|i| 3 + i).collect();
        let text = source::specialize(&variant.text(), bytemuck::cast_slice(&values));
        let (_, module, info) = parse(text).unwrap_or_else(|e| panic!("{}: {e}", kernel.stem));
        let uniform = module.global_variables.iter().find(|(_, v)| v.space == AddressSpace::Uniform);
        let (uniform, _) = uniform.expect("it stays bound");
        assert!(info.get_entry_point(0)[uniform].is_empty(), "{} {}", kernel.stem, variant.name);
        count += 1;
    }
    assert!(count > 10);
}

/// The stems of a folder's files with this extension.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = files.map(|file| file.expect("the folder can be read").path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
    wanted.filter_map(|path| Some(path.file_stem()?.to_str()?.to_string())).collect()
}

/// One shader or one a variant, one binding and one twin for each kernel, and none without the others.
#[test]
fn kernels_are_complete() {
    let all: BTreeSet<String> = kernels::all().map(|kernel| kernel.stem.to_string()).collect();
    assert_eq!(all.len(), kernels::all().count(), "no kernel is registered twice");
    let mut single = BTreeSet::new();
    for kernel in kernels::all() {
        let names: BTreeSet<String> =
            kernel.variants.iter().map(|variant| variant.family().to_string()).collect();
        match kernel.variants {
            [Variant { name: "", .. }] => assert!(single.insert(kernel.stem.to_string())),
            _ => assert_eq!(stems(&format!("shaders/{}", kernel.stem), "wgsl"), names),
        }
    }
    // The families' kernels have one binding and one twin; what they compute is in the families' files.
    let updates: BTreeSet<String> =
        latent_update::FAMILIES.iter().map(|kernel| kernel.stem.to_string()).collect();
    let shaders: BTreeSet<String> =
        stems("shaders/update", "wgsl").iter().map(|family| format!("{family}_update")).collect();
    assert_eq!(shaders, updates);
    let families = stems("src/method", "rs");
    assert!(updates.iter().all(|update| families.contains(update.trim_end_matches("_update"))));
    let one = |all: &BTreeSet<String>| all.difference(&updates).cloned().collect::<BTreeSet<_>>();
    assert_eq!(stems("shaders", "wgsl"), one(&single));
    let without = |folder: &str, others: &[&str]| {
        let mut stems = stems(folder, "rs");
        others.iter().for_each(|other| assert!(stems.remove(*other), "{folder}/{other}.rs"));
        stems
    };
    let all = one(&all);
    assert_eq!(without("src/kernels", &["choose", "latent_update", "mod", "source", "variant"]), all);
    assert_eq!(without("src/reference", &["integers", "latent_update", "mod"]), all);
}
