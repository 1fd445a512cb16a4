//! Where to compute, and in which number format.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use tch::{Cuda, Device, Kind};

use crate::Error;

/// The device that a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The fastest there is: the first CUDA device, else MPS, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The NVIDIA GPU with this index.
    Cuda(usize),
    /// The GPU of an Apple machine.
    Mps,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown =
            || Error::Unknown { what: "device", given: text.to_owned(), known: "auto, cpu, cuda, cuda:N, mps" };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "mps" => Ok(Self::Mps),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Cpu => out.write_str("cpu"),
            Self::Cuda(index) => write!(out, "cuda:{index}"),
            Self::Mps => out.write_str("mps"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl DeviceChoice {
    /// The libtorch device for this choice, or why there is none.
    pub(crate) fn resolve(self) -> Result<Device, Error> {
        let refuse = |reason: String| Err(Error::Device { asked: self.to_string(), reason });
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(if cuda_devices() > 0 {
                Device::Cuda(0)
            } else if tch::utils::has_mps() {
                Device::Mps
            } else {
                Device::Cpu
            }),
            Self::Cuda(index) => match (cuda_devices(), cuda_library()) {
                (count, _) if index < count => Ok(Device::Cuda(index)),
                (0, Err(problem)) => refuse(format!(
                    "this copy of libtorch has no CUDA part ({problem}). Install the CUDA build of libtorch, or choose `cpu` or `auto`"
                )),
                (0, Ok(())) => refuse(
                    "no NVIDIA GPU answered. Check the driver with `nvidia-smi`, or choose `cpu` or `auto`".to_owned(),
                ),
                (count, _) => refuse(format!("there are {count} CUDA devices, numbered from 0")),
            },
            Self::Mps if tch::utils::has_mps() => Ok(Device::Mps),
            Self::Mps => {
                refuse("MPS exists on Apple machines with macOS 12.3 or newer only. Choose `cpu` or `auto`".to_owned())
            }
        }
    }
}

/// A plain name for a libtorch device, as in [`DeviceChoice`].
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".to_owned(),
        Device::Vulkan => "vulkan".to_owned(),
    }
}

/// The number format that the UNet and the text encoder compute in. The VAE always computes in f32: those of the
/// Stable Diffusion family overflow in f16, and it runs only once or twice per picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f16 on GPUs. On the processor f32, but for large networks bf16 where the processor multiplies matrices of it (Intel
    /// AMX), as that makes a step three to four times as fast.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// 16-bit brain floats.
    Bf16,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::Unknown { what: "precision", given: text.to_owned(), known: "auto, f32, f16, bf16" }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// Networks from this number of parameters on are large. Those below, as the starter model, are quick in f32, too.
const LARGE: u64 = 200_000_000;

/// Whether the processor has instructions that multiply matrices of bf16 (AMX-BF16). Those that have only the older
/// AVX512-BF16 stay with f32: nothing was measured on one.
#[cfg(target_arch = "x86_64")]
fn multiplies_bf16() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Intel's manual, volume 2A, CPUID, leaf 7, sub-leaf 0, EDX.
    const AMX_BF16: u32 = 1 << 22;
    // Old processors know fewer leaves.
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX_BF16 != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn multiplies_bf16() -> bool {
    false
}

impl Precision {
    /// Decides `Auto` for a device; never returns `Auto`.
    pub(crate) fn resolve(self, device: Device) -> Self {
        match (self, device) {
            (Self::Auto, Device::Cuda(_) | Device::Mps) => Self::F16,
            (Self::Auto, _) => Self::F32,
            (chosen, _) => chosen,
        }
    }

    /// Decides `Auto` for a denoising network with so many parameters.
    pub(crate) fn resolve_for(self, device: Device, parameters: u64) -> Self {
        match (self, device) {
            (Self::Auto, Device::Cpu) if parameters >= LARGE && multiplies_bf16() => Self::Bf16,
            _ => self.resolve(device),
        }
    }

    /// The libtorch name of the format.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Auto | Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

/// How many CUDA devices answer; 0 without a CUDA build of libtorch or without a GPU.
fn cuda_devices() -> usize {
    if cuda_library().is_err() || !Cuda::is_available() {
        return 0;
    }
    usize::try_from(Cuda::device_count()).unwrap_or(0)
}

/// Loads libtorch's CUDA part once, when there is one.
///
/// Nothing in this program calls into that library by name, so linkers drop it (`--as-needed`), and libtorch then
/// reports that it was built without CUDA. libtorch asks for it once, at its first CUDA query, so this comes before.
fn cuda_library() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load_cuda_library).clone()
}

#[cfg(not(any(target_os = "linux", target_os = "windows")))]
fn load_cuda_library() -> Result<(), String> {
    Err("there is no CUDA on this operating system".to_owned())
}

#[cfg(any(target_os = "linux", target_os = "windows"))]
#[allow(unsafe_code, reason = "the only way to load libtorch's CUDA part when it is present")]
fn load_cuda_library() -> Result<(), String> {
    let name = if cfg!(windows) { "torch_cuda.dll" } else { "libtorch_cuda.so" };
    // Next to the libtorch that is in use first, then wherever the loader would look.
    let beside = loaded_libtorch_folder().map(|folder| folder.join(name)).filter(|path| path.exists());
    let target = beside.unwrap_or_else(|| std::path::PathBuf::from(name));
    // SAFETY: this runs the initialisers of a library that belongs to the libtorch already in this process; they
    // register its kernels and have no other precondition. It is never unloaded, so nothing of it can dangle.
    match unsafe { libloading::Library::new(&target) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The folder of the libtorch in this process, where the operating system tells it.
#[cfg(target_os = "linux")]
fn loaded_libtorch_folder() -> Option<std::path::PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let path = std::path::Path::new(line.get(line.find('/')?..)?);
    path.parent().map(std::path::Path::to_path_buf)
}

#[cfg(target_os = "windows")]
fn loaded_libtorch_folder() -> Option<std::path::PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "mps"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for name in ["", "gpu", "cuda:", "cuda:-1", "CPU", "cuda:0x1"] {
            assert!(name.parse::<DeviceChoice>().is_err(), "{name}");
        }
        for name in ["auto", "f32", "f16", "bf16"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        assert!("fp16".parse::<Precision>().is_err());
    }

    #[test]
    fn an_absent_gpu_is_refused_with_advice() {
        let error = DeviceChoice::Cuda(97).resolve().unwrap_err().to_string();
        assert!(error.contains("cuda:97"), "{error}");
    }

    #[test]
    fn auto_precision_follows_the_device() {
        assert_eq!(Precision::Auto.resolve(Device::Cpu), Precision::F32);
        assert_eq!(Precision::Auto.resolve(Device::Cuda(0)), Precision::F16);
        assert_eq!(Precision::Bf16.resolve(Device::Cpu), Precision::Bf16);
        assert_eq!(Precision::Auto.resolve_for(Device::Cpu, LARGE - 1), Precision::F32, "the starter model");
        assert_eq!(Precision::Auto.resolve_for(Device::Cuda(0), LARGE), Precision::F16);
        let large = if multiplies_bf16() { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(Precision::Auto.resolve_for(Device::Cpu, LARGE), large);
        assert_eq!(Precision::F32.resolve_for(Device::Cpu, LARGE), Precision::F32, "what is asked for is done");
    }
}
