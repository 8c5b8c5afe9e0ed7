package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// checks turns what was read into Config and collects what is wrong.
type checks struct {
	origins map[string]string
	errs    []error
}

// fail names the field, and the line or the flag that it was set by.
func (c *checks) fail(field, format string, args ...any) {
	path, entry, _ := strings.Cut(field, ".")
	origin, ok := c.origins[field]
	if ok {
		entry = ""
	} else if origin, ok = c.origins[path+"["+entry+"]"]; !ok {
		path, _, _ = strings.Cut(field, "[")
		origin, ok = c.origins[path]
		entry = field[len(path):]
	}
	switch {
	case ok && strings.HasPrefix(origin, "--"):
		field = strings.TrimSuffix(origin+": "+entry, ": ")
	case ok:
		field = origin + ": " + field
	}
	c.errs = append(c.errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

func (c *checks) config(o *options, kc *kubelet.KubeletConfiguration, mine own) Config {
	if o.bootstrap != "" && o.kubeconfig == "" {
		c.fail("--bootstrap-kubeconfig", "give --kubeconfig too: it is where the credentials go")
	}
	c.values(kc)
	c.gates(kc.FeatureGates)
	c.path("--root-dir", o.root)
	cfg := Config{
		Node: c.node(o, kc), Server: c.server(kc), DNS: c.dns(kc), Cgroups: c.cgroups(kc), Pods: c.pods(kc, mine),
		Images: c.images(o, kc), Network: c.network(kc, mine, o.kubeconfig != ""), Sources: c.sources(kc),
		API: API{Kubeconfig: o.kubeconfig, Bootstrap: o.bootstrap, QPS: float32(*kc.KubeAPIQPS), Burst: int(kc.KubeAPIBurst),
			EventQPS: orNoLimit(*kc.EventRecordQPS), EventBurst: int(kc.EventBurst)},
		Runtime: Runtime{Endpoint: c.socket("containerRuntimeEndpoint", kc.ContainerRuntimeEndpoint),
			ImageEndpoint: c.socket("imageServiceEndpoint", cmp.Or(kc.ImageServiceEndpoint, kc.ContainerRuntimeEndpoint)),
			Timeout:       kc.RuntimeRequestTimeout.Duration},
		Eviction: c.eviction(kc),
		Agent: Agent{Root: filepath.Clean(o.root), Socket: cmp.Or(mine.LocalAPI.Socket, defaultSocket),
			LogLevel: LogLevel(int(kc.Logging.Verbosity)), LogFormat: kc.Logging.Format, Autonomy: cmp.Or(mine.Autonomy, AutonomyAlways)},
	}
	c.path("localAPI.socket", cfg.Agent.Socket)
	if modes := []string{AutonomyAlways, AutonomyStaticOnly, AutonomyNever}; !slices.Contains(modes, cfg.Agent.Autonomy) {
		c.fail("autonomy", "%q is none of %s", cfg.Agent.Autonomy, strings.Join(modes, ", "))
	}
	cfg.Certs = Certs{Dir: cmp.Or(o.certs, filepath.Join(o.root, "pki")), RotateClient: kc.RotateCertificates, BootstrapServing: kc.ServerTLSBootstrap}
	c.path("--cert-dir", cfg.Certs.Dir)
	if o.kubeconfig == "" { // without an API server there is nobody to ask
		cfg.Node.Register, cfg.Server.Auth.TokenReview = false, false
	}
	return cfg
}

// defaultSocket is where the local API is unless localAPI.socket says otherwise.
const defaultSocket = "/run/minikubelet/minikubelet.sock"

func (c *checks) node(o *options, kc *kubelet.KubeletConfiguration) Node {
	n := Node{Name: strings.ToLower(strings.TrimSpace(o.hostname)), Labels: o.labels, Taints: kc.RegisterWithTaints, Register: *kc.RegisterNode,
		Unschedulable: !o.schedule, ExternalCloud: o.cloud == "external", ProviderID: kc.ProviderID, MaxPods: int(kc.MaxPods), PodsPerCore: int(kc.PodsPerCore), MaxImages: int(*kc.NodeStatusMaxImages),
		Intervals: Intervals{Status: kc.NodeStatusUpdateFrequency.Duration, Report: kc.NodeStatusReportFrequency.Duration,
			Lease: pod.Seconds(int64(kc.NodeLeaseDurationSeconds))}}
	if n.Name != "" {
		for _, why := range validation.IsDNS1123Subdomain(n.Name) {
			c.fail("--hostname-override", "%q: %s", o.hostname, why)
		}
	}
	c.oneOf("--cloud-provider", o.cloud, "", "external")
	for ip := range strings.SplitSeq(o.nodeIP, ",") {
		if ip = strings.TrimSpace(ip); ip != "" {
			n.IPs = append(n.IPs, c.addr("--node-ip", ip))
		}
	}
	if len(n.IPs) > 2 || len(n.IPs) == 2 && n.IPs[0].Is4() == n.IPs[1].Is4() {
		c.fail("--node-ip", "give one address, or one IPv4 and one IPv6 address")
	}
	for _, k := range slices.Sorted(maps.Keys(o.labels)) {
		for _, why := range append(validation.IsQualifiedName(k), validation.IsValidLabelValue(o.labels[k])...) {
			c.fail("--node-labels", "%s=%s: %s", k, o.labels[k], why)
		}
	}
	for i, t := range n.Taints {
		if !validTaint(t) {
			c.fail(fmt.Sprintf("registerWithTaints[%d]", i), "%s=%s:%s is no taint: the effect must be one of NoSchedule, PreferNoSchedule, NoExecute", t.Key, t.Value, t.Effect)
		}
	}
	c.positive("maxPods", int64(kc.MaxPods))
	c.positive("nodeLeaseDurationSeconds", int64(kc.NodeLeaseDurationSeconds))
	if kc.PodsPerCore < 0 {
		c.fail("podsPerCore", "must not be negative")
	}
	return n
}

func (c *checks) server(kc *kubelet.KubeletConfiguration) Server {
	s := Server{Enabled: *kc.EnableServer, Address: c.listen("address", kc.Address, "port", kc.Port), CertFile: kc.TLSCertFile,
		KeyFile:       kc.TLSPrivateKeyFile,
		Healthz:       c.listen("healthzBindAddress", kc.HealthzBindAddress, "healthzPort", *kc.HealthzPort),
		StreamTimeout: kc.StreamingConnectionIdleTimeout.Duration, Auth: c.auth(kc), Debugging: Debugging{
			Enabled: *kc.EnableDebuggingHandlers, SystemLogs: *kc.EnableSystemLogHandler, Profiling: *kc.EnableProfilingHandler,
			Flags:      *kc.EnableDebugFlagsHandler,
			LogQueries: kc.EnableSystemLogQuery != nil && *kc.EnableSystemLogQuery,
		}}
	if (s.CertFile == "") != (s.KeyFile == "") {
		c.fail("tlsCertFile", "tlsCertFile and tlsPrivateKeyFile go together: set both or none")
	}
	if s.Debugging.LogQueries && !s.Debugging.SystemLogs {
		c.fail("enableSystemLogQuery", "needs enableSystemLogHandler: set both or none")
	}
	s.MinVersion = c.tlsVersion(kc.TLSMinVersion)
	s.CipherSuites = c.cipherSuites(kc.TLSCipherSuites)
	return s
}

func (c *checks) tlsVersion(name string) uint16 {
	c.oneOf("tlsMinVersion", name, "", "VersionTLS12", "VersionTLS13")
	if name == "VersionTLS13" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// cipherSuites knows the suites that Go does not call insecure. Those of TLS 1.3 cannot be chosen from.
func (c *checks) cipherSuites(names []string) []uint16 {
	var out []uint16
	for i, name := range names {
		all := tls.CipherSuites()
		at := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return s.Name == name })
		if at < 0 {
			c.fail(fmt.Sprintf("tlsCipherSuites[%d]", i), "%q is no secure cipher suite that this agent knows, such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", name)
			continue
		}
		out = append(out, all[at].ID)
	}
	return out
}

func (c *checks) auth(kc *kubelet.KubeletConfiguration) Auth {
	c.oneOf("authorization.mode", string(kc.Authorization.Mode), "AlwaysAllow", "Webhook")
	a := kc.Authentication
	return Auth{ClientCAFile: a.X509.ClientCAFile, Anonymous: *a.Anonymous.Enabled, TokenReview: *a.Webhook.Enabled, TokenTTL: a.Webhook.CacheTTL.Duration,
		AlwaysAllow:   kc.Authorization.Mode == kubelet.KubeletAuthorizationModeAlwaysAllow,
		AuthorizedTTL: kc.Authorization.Webhook.CacheAuthorizedTTL.Duration, UnauthorizedTTL: kc.Authorization.Webhook.CacheUnauthorizedTTL.Duration}
}

func (c *checks) dns(kc *kubelet.KubeletConfiguration) DNS {
	d := DNS{Domain: kc.ClusterDomain, ResolvConf: *kc.ResolverConfig}
	for _, s := range kc.ClusterDNS {
		d.Servers = append(d.Servers, c.addr("clusterDNS", s))
	}
	if d.ResolvConf != "" {
		c.path("resolvConf", d.ResolvConf)
	}
	return d
}

func (c *checks) cgroups(kc *kubelet.KubeletConfiguration) Cgroups {
	c.oneOf("cgroupDriver", kc.CgroupDriver, "", "cgroupfs", "systemd", "auto")
	for i, what := range kc.EnforceNodeAllocatable {
		c.oneOf(fmt.Sprintf("enforceNodeAllocatable[%d]", i), what, "pods", "none")
	}
	if !*kc.CgroupsPerQOS && slices.Contains(kc.EnforceNodeAllocatable, "pods") {
		c.fail("enforceNodeAllocatable", "pods needs cgroupsPerQOS: set it to [none] or cgroupsPerQOS to true")
	}
	if p := kc.CPUCFSQuotaPeriod.Duration; p < time.Millisecond || p > time.Second {
		c.fail("cpuCFSQuotaPeriod", "%s is not between 1ms and 1s", p)
	}
	if a := *kc.OOMScoreAdj; a < -1000 || a > 1000 {
		c.fail("oomScoreAdj", "%d is not between -1000 and 1000", a)
	}
	return Cgroups{Root: kc.CgroupRoot, Driver: cmp.Or(kc.CgroupDriver, "auto"), PerQOS: *kc.CgroupsPerQOS, CPUQuota: *kc.CPUCFSQuota,
		CPUQuotaPeriod: kc.CPUCFSQuotaPeriod.Duration, PodPIDs: *kc.PodPidsLimit, KubeReserved: c.reserved("kubeReserved", kc.KubeReserved),
		SystemReserved: c.reserved("systemReserved", kc.SystemReserved), EnforceAllocatable: slices.Contains(kc.EnforceNodeAllocatable, "pods"),
		OOMScoreAdj: int(*kc.OOMScoreAdj), FailSwapOn: *kc.FailSwapOn}
}

func (c *checks) reserved(field string, in map[string]string) v1.ResourceList {
	out := v1.ResourceList{}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		q, err := resource.ParseQuantity(in[k])
		switch {
		case err != nil || q.Sign() < 0:
			c.fail(field+"."+k, "%q is no quantity: write 500m or 1Gi", in[k])
		case k != "cpu" && k != "memory" && k != "ephemeral-storage" && k != "pid":
			c.fail(field+"."+k, "unknown resource: cpu, memory, ephemeral-storage and pid can be reserved")
		}
		out[v1.ResourceName(k)] = q
	}
	return out
}

func (c *checks) images(o *options, kc *kubelet.KubeletConfiguration) Images {
	i := Images{Serialize: *kc.SerializeImagePulls, MaxParallel: orZero(kc.MaxParallelImagePulls), QPS: float64(*kc.RegistryPullQPS), Burst: int(kc.RegistryBurst),
		GCHigh: int(*kc.ImageGCHighThresholdPercent), GCLow: int(*kc.ImageGCLowThresholdPercent), MinAge: kc.ImageMinimumGCAge.Duration, MaxAge: kc.ImageMaximumGCAge.Duration,
		Providers: o.providers.config, ProviderDir: o.providers.programs,
		Verify: kc.ImagePullCredentialsVerificationPolicy, VerifyNot: kc.PreloadedImagesVerificationAllowlist}
	if (i.Providers == "") != (i.ProviderDir == "") {
		c.fail("--image-credential-provider-config", "goes together with --image-credential-provider-bin-dir: give both or none")
	}
	c.oneOf("imagePullCredentialsVerificationPolicy", string(i.Verify), string(kubelet.NeverVerify), string(kubelet.NeverVerifyPreloadedImages),
		string(kubelet.NeverVerifyAllowlistedImages), string(kubelet.AlwaysVerify))
	if (len(i.VerifyNot) > 0) != (i.Verify == kubelet.NeverVerifyAllowlistedImages) {
		c.fail("preloadedImagesVerificationAllowlist", "goes together with imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages")
	}
	for n, name := range i.VerifyNot {
		ref, err := reference.Parse(strings.TrimSuffix(name, "/*"))
		if named, ok := ref.(reference.Named); err != nil || !ok || !reference.IsNameOnly(named) {
			c.fail(fmt.Sprintf("preloadedImagesVerificationAllowlist[%d]", n), "%q is no image name: write registry.example.com/team/app without a tag, or registry.example.com/team/*", name)
		}
	}
	if i.GCHigh < 0 || i.GCHigh > 100 || i.GCLow < 0 || i.GCLow >= i.GCHigh {
		c.fail("imageGCHighThresholdPercent", "%d is not between imageGCLowThresholdPercent, which is %d, and 100", i.GCHigh, i.GCLow)
	}
	if i.MaxAge != 0 && i.MaxAge < i.MinAge {
		c.fail("imageMaximumGCAge", "%s is less than imageMinimumGCAge, which is %s", i.MaxAge, i.MinAge)
	}
	if i.Serialize && i.MaxParallel > 1 {
		c.fail("maxParallelImagePulls", "%d needs serializeImagePulls: false", i.MaxParallel)
	}
	return i
}

func (c *checks) pods(kc *kubelet.KubeletConfiguration, mine own) Pods {
	size, err := resource.ParseQuantity(kc.ContainerLogMaxSize)
	if err != nil || size.Value() < 1 {
		c.fail("containerLogMaxSize", "%q is no size: write 10Mi", kc.ContainerLogMaxSize)
	}
	if *kc.ContainerLogMaxFiles < 2 {
		c.fail("containerLogMaxFiles", "must be at least 2")
	}
	if i := kc.ContainerLogMonitorInterval.Duration; i < 3*time.Second {
		c.fail("containerLogMonitorInterval", "%s is less than 3s", i)
	}
	c.positive("containerLogMaxWorkers", int64(*kc.ContainerLogMaxWorkers))
	if d := kc.CrashLoopBackOff.MaxContainerRestartPeriod.Duration; d < time.Second || d > 5*time.Minute {
		c.fail("crashLoopBackOff.maxContainerRestartPeriod", "%s is not between 1s and 300s", d)
	}
	if mine.StartLimit < 0 {
		c.fail("startLimit", "must not be negative; 0 means two per core")
	}
	c.path("podLogsDir", kc.PodLogsDir)
	return Pods{StartLimit: mine.StartLimit, MaxRestartDelay: kc.CrashLoopBackOff.MaxContainerRestartPeriod.Duration, LogDir: kc.PodLogsDir,
		LogMaxSize: size.Value(), LogMaxFiles: int(*kc.ContainerLogMaxFiles), LogInterval: kc.ContainerLogMonitorInterval.Duration,
		LogWorkers: int(*kc.ContainerLogMaxWorkers), AttachDetach: *kc.EnableControllerAttachDetach, SeccompDefault: *kc.SeccompDefault,
		UnsafeSysctls: kc.AllowedUnsafeSysctls, LocalIsolation: *kc.LocalStorageCapacityIsolation}
}

func (c *checks) sources(kc *kubelet.KubeletConfiguration) Sources {
	s := Sources{Path: kc.StaticPodPath, Rescan: kc.FileCheckFrequency.Duration, URL: kc.StaticPodURL, URLHeader: http.Header(kc.StaticPodURLHeader),
		URLRefresh: kc.HTTPCheckFrequency.Duration}
	if s.Path != "" {
		c.path("staticPodPath", s.Path)
	}
	if s.URL != "" && !strings.HasPrefix(s.URL, "http://") && !strings.HasPrefix(s.URL, "https://") {
		c.fail("staticPodURL", "must begin with http:// or https://")
	}
	return s
}

func (c *checks) network(kc *kubelet.KubeletConfiguration, mine own, joined bool) Network {
	n := Network{Provider: cmp.Or(mine.Network.Provider, "auto"), ConfDir: mine.Network.ConfDir}
	c.oneOf("network.provider", n.Provider, "agent", "runtime", "auto")
	if n.ConfDir != "" {
		c.path("network.confDir", n.ConfDir)
	}
	if mine.Network.BinDir != "" {
		n.BinDirs = filepath.SplitList(mine.Network.BinDir)
		for _, d := range n.BinDirs {
			c.path("network.binDir", d)
		}
	}
	n.PodCIDR = c.prefix("podCIDR", kc.PodCIDR)
	if joined { // the Node's goes before, as in a kubelet
		n.PodCIDR = netip.Prefix{}
	}
	if mine.Network.PodCIDR != "" {
		n.PodCIDR = c.prefix("network.podCIDR", mine.Network.PodCIDR)
	}
	return n
}

func (c *checks) prefix(field, text string) netip.Prefix {
	if text == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() {
		c.fail(field, "%q is no network: write 10.88.0.0/16", text)
	}
	return p
}

func (c *checks) eviction(kc *kubelet.KubeletConfiguration) Eviction {
	e := Eviction{Hard: kc.EvictionHard, Soft: kc.EvictionSoft, SoftGrace: map[string]time.Duration{}, MinimumReclaim: kc.EvictionMinimumReclaim,
		Transition: kc.EvictionPressureTransitionPeriod.Duration, MaxPodGrace: pod.Seconds(int64(kc.EvictionMaxPodGracePeriod))}
	c.thresholds("evictionHard", e.Hard)
	c.thresholds("evictionSoft", e.Soft)
	c.thresholds("evictionMinimumReclaim", e.MinimumReclaim)
	for _, signal := range slices.Sorted(maps.Keys(e.Soft)) {
		d, err := time.ParseDuration(kc.EvictionSoftGracePeriod[signal])
		e.SoftGrace[signal] = d
		if err != nil || d < 0 {
			c.fail("evictionSoftGracePeriod."+signal, "must say how long the soft threshold is crossed before pods are evicted, such as 90s")
		}
	}
	return e
}

func (c *checks) thresholds(field string, m map[string]string) {
	c.signals(field, m)
	for _, signal := range slices.Sorted(maps.Keys(m)) {
		percent, is := strings.CutSuffix(m[signal], "%")
		f, err := strconv.ParseFloat(percent, 64)
		if !is {
			_, err = resource.ParseQuantity(m[signal])
		}
		if err != nil || is && (f < 0 || f > 100) {
			c.fail(field+"."+signal, "%q is neither a quantity such as 100Mi nor a percentage such as 10%%", m[signal])
		}
	}
}

func (c *checks) listen(field, address, portField string, port int32) netip.AddrPort {
	if port < 0 || port > 65535 {
		c.fail(portField, "%d is no port", port)
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(c.addr(field, address), uint16(port))
}

func (c *checks) addr(field, text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		c.fail(field, "%q is no IP address", text)
	}
	return a
}

func (c *checks) path(field, p string) {
	if !filepath.IsAbs(p) {
		c.fail(field, "%q must be an absolute path", p)
	}
}

func (c *checks) socket(field, endpoint string) string {
	if path, ok := strings.CutPrefix(endpoint, "unix://"); !ok || !filepath.IsAbs(path) {
		if filepath.IsAbs(endpoint) {
			return "unix://" + endpoint
		}
		c.fail(field, "%q must be a unix socket, such as unix:///run/containerd/containerd.sock", endpoint)
	}
	return endpoint
}

func (c *checks) positive(field string, n int64) {
	if n < 1 {
		c.fail(field, "must be more than 0")
	}
}

func (c *checks) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.fail(field, "%q must be one of %s", value, strings.Join(slices.DeleteFunc(allowed, func(s string) bool { return s == "" }), ", "))
	}
}

// orNoLimit is a rate whose zero is no limit.
func orNoLimit(qps int32) float32 {
	if qps == 0 {
		return math.MaxInt32
	}
	return float32(qps)
}
