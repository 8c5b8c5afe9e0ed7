package testbed

// Both configurations: nothing shared with another containerd; restrict_oom_score_adj because lowering a process's
// oom_score_adj needs a capability that containers of CI lack; network namespaces below the state directory, where the
// sweep finds them; the cgroupfs driver; no NRI socket, which is one per machine; no plugin that no test uses.
const (
	config24 = `
version = 3
root = {{quote .D.Root}}
state = {{quote .D.State}}
disabled_plugins = [
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.blockfile', 'io.containerd.snapshotter.v1.erofs', 'io.containerd.differ.v1.erofs',
  'io.containerd.mount-handler.v1.erofs', 'io.containerd.image-verifier.v1.bindir', 'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.internal.v1.tracing', 'io.containerd.internal.v1.restart', 'io.containerd.monitor.container.v1.restart',
]

[grpc]
  address = {{quote .D.Socket}}
[ttrpc]
  address = {{quote (print .D.Socket ".ttrpc")}}

[plugins.'io.containerd.internal.v1.opt']
  path = {{quote (print .Dir "/opt")}}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = {{quote .Pause}}
{{- if .Mirror}}
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = {{quote (print .Dir "/certs.d")}}
{{- end}}
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [{{quote .D.BinDir}}]
    conf_dir = {{quote .D.ConfDir}}
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]
{{- range $name, $path := .Runtimes}}
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{{$name}}]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{{$name}}.options]
        BinaryName = {{quote $path}}
        Root = {{quote (print $.Dir "/oci")}}
        SystemdCgroup = false
{{- end}}
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = '127.0.0.1'
  stream_server_port = '0'
`

	config16 = `
version = 2
root = {{quote .D.Root}}
state = {{quote .D.State}}
disabled_plugins = ["io.containerd.internal.v1.restart", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = {{quote .D.Socket}}
[ttrpc]
  address = {{quote (print .D.Socket ".ttrpc")}}

[plugins."io.containerd.internal.v1.opt"]
  path = {{quote (print .Dir "/opt")}}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {{quote .Pause}}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {{quote .D.BinDir}}
    conf_dir = {{quote .D.ConfDir}}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
{{- range $name, $path := .Runtimes}}
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{{$name}}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{{$name}}.options]
        BinaryName = {{quote $path}}
        Root = {{quote (print $.Dir "/oci")}}
        SystemdCgroup = false
{{- end}}
`
)
