#[path = "../tests/fixture/mod.rs"]
mod fixture;
fn main() { let a: Vec<String> = std::env::args().collect(); let (p, id) = fixture::project(a[1].as_ref(), (1280, 720)); println!("{id}"); if a.len() > 2 { std::thread::sleep(std::time::Duration::from_secs(a[2].parse().unwrap())); } p.close().unwrap(); }
