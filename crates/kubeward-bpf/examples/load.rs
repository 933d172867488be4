fn main() {
    let engine = match kubeward_bpf::object::Engine::load(&Default::default()) { Ok(e)=>e, Err(e)=>{println!("{e}"); return} };
    println!("{:?}", engine.support());
    let t = engine.tasks().unwrap(); println!("{} {:?}", t.len(), t[0]);
}
