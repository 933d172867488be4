//! containerd's configuration. Version 2 is read by 1.6 as by 2.x.

use super::cri::PAUSE_IMAGE;
use super::Containerd;

/// What a test machine lacks the devices or mounts for.
const NEVER: &str = "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\", \
                     \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.internal.v1.opt\", \
                     \"io.containerd.nri.v1.nri\"";
/// The CRI plugin under its names in 1.x and 2.x. It starts slowly.
const CRI: &str = "\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", ";

impl Containerd {
    pub(super) fn config(&self) -> String {
        self.with_disabled(CRI)
    }

    pub(super) fn cri_config(&self) -> String {
        let dir = self.dir().display();
        let cri = r#"[plugins."io.containerd.grpc.v1.cri""#;
        self.with_disabled("")
            + &format!(
                "{cri}]\nsandbox_image = \"{PAUSE_IMAGE}\"\n\
                 # A machine without CAP_SYS_RESOURCE cannot lower the score.\nrestrict_oom_score_adj = true\n\
                 {cri}.cni]\nbin_dir = \"{dir}/cni\"\nconf_dir = \"{dir}/cni\"\n\
                 {cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 {cri}.containerd.runtimes.runc.options]\nRoot = \"{}\"\n",
                self.runc_root().display()
            )
    }

    fn with_disabled(&self, more: &str) -> String {
        let (dir, socket) = (self.dir().display(), self.socket());
        format!(
            "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\ndisabled_plugins = [{more}{NEVER}]\n\
             [grpc]\naddress = \"{}\"\n",
            socket.display()
        )
    }
}
