package config

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

// Config is all that the agent is told, with defaults applied.
type Config struct {
	Node     Node
	API      API
	Certs    Certs
	Sources  Sources
	Runtime  Runtime
	Server   Server
	DNS      DNS
	Cgroups  Cgroups
	Eviction Eviction
	Images   Images
	Pods     Pods
	Network  Network
	Agent    Agent
}

// Node is how the node presents itself.
type Node struct {
	Name          string       // --hostname-override; empty: the host's name, lower case
	IPs           []netip.Addr // --node-ip: none, one, or one of each family; empty: found out
	Labels        map[string]string
	Taints        []v1.Taint
	Register      bool // the agent makes its Node object
	Unschedulable bool // and a new one is cordoned
	ProviderID    string
	ExternalCloud bool // --cloud-provider=external
	MaxPods       int
	PodsPerCore   int // 0: no limit of this kind
	Intervals     Intervals
	MaxImages     int // in the Node's status; -1: all
}

// Intervals are how often the node's status is computed and, unchanged, written, and how long its lease is.
type Intervals struct{ Status, Report, Lease time.Duration }

// API is the way to the API server.
type API struct {
	Kubeconfig string // empty: standalone
	Bootstrap  string // kubeconfig that can only ask for a certificate; empty: none
	QPS        float32
	Burst      int
	EventQPS   float32
	EventBurst int
}

// Certs are the node's own certificates.
type Certs struct {
	Dir              string // <root-dir>/pki
	RotateClient     bool   // renew the client certificate that bootstrapping got
	BootstrapServing bool   // have the cluster sign the serving certificate
}

// What the agent may start before it has heard the API server (autonomy in MinikubeletConfiguration).
const (
	AutonomyAlways     = "always"      // the default: every pod that it remembers
	AutonomyStaticOnly = "static-only" // as a kubelet: pods of files and URLs
	AutonomyNever      = "never"
)

// Sources are where pods come from beside the API server.
type Sources struct {
	Path       string // staticPodPath; empty: none
	Rescan     time.Duration
	URL        string // staticPodURL; empty: none
	URLHeader  http.Header
	URLRefresh time.Duration
}

// Runtime is the container runtime.
type Runtime struct {
	Endpoint      string // unix:///run/containerd/containerd.sock by default
	ImageEndpoint string // the same as Endpoint unless set
	Timeout       time.Duration
}

// Server is the HTTPS API and the healthz endpoint.
type Server struct {
	Enabled       bool
	Address       netip.AddrPort // 0.0.0.0:10250
	CertFile      string         // both or none; none: a certificate that the agent signs itself
	KeyFile       string
	CipherSuites  []uint16       // of TLS 1.2; none: Go's
	MinVersion    uint16         // of TLS
	Healthz       netip.AddrPort // port 0: off
	StreamTimeout time.Duration
	Debugging     Debugging
	Auth          Auth
}

// Debugging is what the HTTPS API serves to look into the node and its pods.
type Debugging struct {
	Enabled    bool // exec, logs, port-forward and the like; without it none of these
	SystemLogs bool // the files of /var/log
	LogQueries bool // and of the node's journal
	Profiling  bool // /debug/pprof
	Flags      bool // /debug/flags/v
}

// Auth is who may use the HTTPS API.
type Auth struct {
	ClientCAFile    string
	Anonymous       bool
	TokenReview     bool
	TokenTTL        time.Duration
	AlwaysAllow     bool // else each request is a SubjectAccessReview
	AuthorizedTTL   time.Duration
	UnauthorizedTTL time.Duration
}

// DNS is what pods resolve names with.
type DNS struct {
	Servers    []netip.Addr
	Domain     string
	ResolvConf string // empty: pods inherit nothing from the host
}

// Cgroups are the limits of pods as a whole and each.
type Cgroups struct {
	Root               string
	Driver             string // systemd, cgroupfs or auto: what the runtime says, else cgroupfs
	PerQOS             bool
	CPUQuota           bool
	CPUQuotaPeriod     time.Duration
	PodPIDs            int64 // -1: no limit
	KubeReserved       v1.ResourceList
	SystemReserved     v1.ResourceList
	EnforceAllocatable bool // of pods
	OOMScoreAdj        int
	FailSwapOn         bool
}

// Eviction is when pods are driven away: by signal, a quantity or a percentage.
type Eviction struct {
	Hard           map[string]string
	Soft           map[string]string
	SoftGrace      map[string]time.Duration
	MinimumReclaim map[string]string
	Transition     time.Duration
	MaxPodGrace    time.Duration
}

// Images is how images come and go.
type Images struct {
	Serialize   bool
	MaxParallel int // 0: no limit
	QPS         float64
	Burst       int
	GCHigh      int // per cent
	GCLow       int
	MinAge      time.Duration
	MaxAge      time.Duration // 0: no limit
	Providers   string        // file or directory with CredentialProviderConfig; empty: none
	ProviderDir string        // of their programs
	Verify      kubelet.ImagePullCredentialsVerificationPolicy
	VerifyNot   []string // images that Verify NeverVerifyAllowlistedImages leaves out
}

// Pods is how pods run.
type Pods struct {
	StartLimit      int           // pods that are being started at once; 0: two per core
	MaxRestartDelay time.Duration // crashLoopBackOff.maxContainerRestartPeriod
	LogDir          string
	LogMaxSize      int64 // bytes of one log file
	LogMaxFiles     int
	LogInterval     time.Duration
	LogWorkers      int
	AttachDetach    bool // the controller attaches volumes, not the agent
	SeccompDefault  bool
	UnsafeSysctls   []string
	LocalIsolation  bool // ephemeral storage is counted and limited
}

// Network is who gives pods their network.
type Network struct {
	Provider string       // agent, runtime or auto: agent unless a network is configured already
	ConfDir  string       // empty: what the runtime says that it reads
	BinDirs  []string     // likewise
	PodCIDR  netip.Prefix // of the agent's own bridge network; invalid: the Node's, or a default
}

// Agent is the agent itself.
type Agent struct {
	Root      string // root directory, /var/lib/kubelet
	Socket    string // of the local API
	LogLevel  slog.Level
	LogFormat string // text or json
	Autonomy  string // AutonomyAlways, AutonomyStaticOnly or AutonomyNever
}

// LogLevel is the least that is logged with a verbosity, as the flag -v has it.
func LogLevel(verbosity int) slog.Level {
	if verbosity > 1 {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
