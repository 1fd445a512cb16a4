//! A control network for the starter model: a copy of its encoder, as training of one would begin, whose output is not silent.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

/// The bits of 2^-n as a half-precision number.
const fn half(n: u16) -> u16 {
    (15 - n) << 10
}

/// Name, shape and half-precision bytes of a tensor.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn read(file: &Path) -> Tensors {
    let bytes = fs::read(file).expect("the starter's weights");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let data = &bytes[8 + length..];
    let tensor = |about: &Value| {
        assert_eq!(about["dtype"], "F16");
        let numbers = |key: &str| -> Vec<usize> {
            about[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
        };
        let place = numbers("data_offsets");
        (numbers("shape"), data[place[0]..place[1]].to_vec())
    };
    let named = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    named.map(|(name, about)| (name.clone(), tensor(about))).collect()
}

fn write(file: &Path, tensors: &Tensors) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, bytes)) in tensors {
        let from = data.len();
        data.extend_from_slice(bytes);
        header.insert(name.clone(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [from, data.len()] }));
    }
    let header = Value::Object(header).to_string();
    let header = format!("{header}{}", " ".repeat(header.len().next_multiple_of(8) - header.len()));
    fs::write(file, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

/// Writes the network as a folder in the diffusers layout.
pub fn control_network(folder: &Path) {
    let starter = crate::models().join("starter/unet");
    let mut config: Value = serde_json::from_slice(&fs::read(starter.join("config.json")).unwrap()).unwrap();
    let unet = read(&starter.join("diffusion_pytorch_model.safetensors"));
    let copied = ["conv_in.", "time_embedding.", "down_blocks.", "mid_block."];
    let mut tensors: Tensors =
        unet.into_iter().filter(|(name, _)| copied.iter().any(|part| name.starts_with(part))).collect();

    // The starter also sees a mask and the picture around it; a control network sees the latents alone.
    let (shape, bytes) = tensors.get_mut("conv_in.weight").unwrap();
    let channels = shape[1];
    *bytes = bytes.chunks_exact(2 * 9 * channels).flat_map(|filter| filter[..2 * 9 * 4].to_vec()).collect();
    shape[1] = 4;

    let mut add = |name: String, shape: &[usize], value: &dyn Fn(usize) -> u16| {
        let count: usize = shape.iter().product();
        let bytes = (0..count).flat_map(|index| value(index).to_le_bytes()).collect();
        tensors.insert(name, (shape.to_vec(), bytes));
    };
    // Averages of what it is shown.
    let mut average = |name: &str, to: usize, from: usize, n: u16| {
        add(format!("controlnet_cond_embedding.{name}.weight"), &[to, from, 3, 3], &|_| half(n));
        add(format!("controlnet_cond_embedding.{name}.bias"), &[to], &|_| 0);
    };
    average("conv_in", 8, 3, 4);
    for block in 0..6 {
        average(&format!("blocks.{block}"), 8, 8, 6);
    }
    average("conv_out", 64, 8, 4);
    let outputs = [64, 64, 64, 128, 128, 256].into_iter().enumerate();
    let outputs = outputs.map(|(index, side)| (format!("controlnet_down_blocks.{index}"), side));
    for (name, side) in outputs.chain([("controlnet_mid_block".to_owned(), 256)]) {
        let diagonal = |index: usize| if index / side == index % side { half(1) } else { 0 };
        add(format!("{name}.weight"), &[side, side, 1, 1], &diagonal);
        add(format!("{name}.bias"), &[side], &|_| 0);
    }

    config["_class_name"] = json!("ControlNetModel");
    config["in_channels"] = json!(4);
    config["conditioning_channels"] = json!(3);
    config["conditioning_embedding_out_channels"] = json!([8, 8, 8, 8]);
    config["controlnet_conditioning_channel_order"] = json!("rgb");
    config["global_pool_conditions"] = json!(false);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    write(&folder.join("diffusion_pytorch_model.safetensors"), &tensors);
}
