package testbed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// ControlPlane is a real Kubernetes 1.36 control plane on the bridge's address, which all nodes reach: etcd, API server (RBAC and Node authorizer,
// NodeRestriction), controller manager and scheduler. It has no nodes until an agent joins.
type ControlPlane struct {
	URL             string
	CA              *CA
	AdminKubeconfig string // user in system:masters

	e       *Env
	etcd    *Process
	api     *Process
	own     KeyPair // its certificate
	serving KeyPair // the files that the API server reads its certificate from
	start   func()  // the API server again, for tests that take it away
}

// startBound is how long a control plane may take to come up where several do at once. It bounds, and measures nothing.
const startBound = 2 * time.Minute

// ControlPlane starts etcd, the API server, the controller manager and the scheduler at once, and waits until the API
// server is ready and the default service account, which every pod needs, is there. The API server is given more flags.
func (e *Env) ControlPlane(api ...string) *ControlPlane {
	e.t.Helper()
	buildTools(e.t, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
	cp := &ControlPlane{e: e, CA: e.NewCA("pki"), URL: "https://" + e.NodeIP() + ":" + strconv.Itoa(e.Port())}
	etcdURL := cp.startEtcd()
	cp.start = cp.apiServer(etcdURL, api...)
	cp.start()
	cp.AdminKubeconfig = cp.kubeconfig("admin", "system:masters")
	cp.waitReady() // the controllers end when it is not within 10 s
	cp.startControllers()
	cp.startScheduler()
	Eventually(e.t, startBound, "the default service account exists", func() error {
		_, err := cp.Kubectl("get", "serviceaccount", "default")
		return err
	})
	return cp
}

// APIServer starts etcd and an API server alone, for tests of what it says of objects: no admission plugin changes them or
// asks for other objects that they name.
func (e *Env) APIServer() *ControlPlane {
	e.t.Helper()
	cp := &ControlPlane{e: e, CA: e.NewCA("pki"), URL: "https://" + e.NodeIP() + ":" + strconv.Itoa(e.Port())}
	cp.start = cp.apiServer(cp.startEtcd(), "--disable-admission-plugins=ServiceAccount,Priority,DefaultTolerationSeconds,RuntimeClass")
	cp.start()
	cp.AdminKubeconfig = cp.kubeconfig("admin", "system:masters")
	cp.waitReady()
	return cp
}

// ControlPlaneOf is a control plane that somebody else runs, by its administrator's kubeconfig.
func (e *Env) ControlPlaneOf(kubeconfig string) *ControlPlane {
	return &ControlPlane{e: e, AdminKubeconfig: kubeconfig}
}

func (cp *ControlPlane) startEtcd() string {
	e := cp.e
	e.t.Helper()
	client, peer := "http://127.0.0.1:"+strconv.Itoa(e.Port()), "http://127.0.0.1:"+strconv.Itoa(e.Port())
	cp.etcd = e.Start("etcd", exec.Command(Tool(e.t, "etcd"),
		"--data-dir="+e.Path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer))
	return client
}

// apiServer returns how to start it, with more flags: again after StopAPI, with the same certificates and data.
func (cp *ControlPlane) apiServer(etcdURL string, more ...string) func() {
	e := cp.e
	e.t.Helper()
	serviceIP := fmt.Sprintf("10.242.%d.1", e.N)
	cp.own = cp.CA.Issue("apiserver", Cert{Name: "kube-apiserver", Hosts: []string{"127.0.0.1", "localhost", e.NodeIP(), serviceIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc"}})
	cp.serving = KeyPair{e.Path("apiserver", "serving.crt"), e.Path("apiserver", "serving.key")}
	toNode := cp.CA.Issue("apiserver-kubelet-client", Cert{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}})
	accounts := cp.CA.Issue("service-account", Cert{Name: "service-accounts"})
	front := e.NewCA("front-proxy")
	toExtension := front.Issue("client", Cert{Name: "front-proxy-client"})
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=" + e.NodeIP(), "--advertise-address=" + e.NodeIP(), "--secure-port=" + cp.URL[strings.LastIndexByte(cp.URL, ':')+1:],
		"--tls-cert-file=" + cp.serving.CertFile, "--tls-private-key-file=" + cp.serving.KeyFile,
		"--client-ca-file=" + cp.CA.CertFile,
		"--kubelet-client-certificate=" + toNode.CertFile, "--kubelet-client-key=" + toNode.KeyFile,
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + accounts.KeyFile, "--service-account-signing-key-file=" + accounts.KeyFile,
		"--service-cluster-ip-range=" + e.serviceCIDR(),
		"--enable-bootstrap-token-auth", "--allow-privileged", "--profiling=false",
		// The way to API servers that pods are: to the pod itself, for the machine has no kube-proxy.
		"--enable-aggregator-routing", "--proxy-client-cert-file=" + toExtension.CertFile, "--proxy-client-key-file=" + toExtension.KeyFile,
		"--requestheader-client-ca-file=" + front.CertFile, "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--cert-dir=" + e.Path("apiserver"),
	}
	args = append(args, more...)
	program := Tool(e.t, "kube-apiserver")
	cp.show(cp.own)
	return func() { cp.api = e.Start("kube-apiserver", exec.Command(program, args...)) }
}

func (cp *ControlPlane) startControllers() {
	e := cp.e
	e.t.Helper()
	dir := filepath.Dir(cp.CA.CertFile)
	e.Start("kube-controller-manager", exec.Command(Tool(e.t, "kube-controller-manager"),
		"--kubeconfig="+cp.AdminKubeconfig, "--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--service-account-private-key-file="+filepath.Join(dir, "service-account.key"), "--root-ca-file="+cp.CA.CertFile,
		"--cluster-signing-cert-file="+cp.CA.CertFile, "--cluster-signing-key-file="+cp.CA.KeyFile,
		"--cluster-cidr="+e.PodCIDR(), "--allocate-node-cidrs=false", "--horizontal-pod-autoscaler-sync-period=2s"))
}

func (cp *ControlPlane) startScheduler() {
	e := cp.e
	e.t.Helper()
	e.Start("kube-scheduler", exec.Command(Tool(e.t, "kube-scheduler"),
		"--kubeconfig="+cp.AdminKubeconfig, "--leader-elect=false", "--secure-port=0", "--profiling=false"))
}

func (cp *ControlPlane) waitReady() {
	cp.e.t.Helper()
	Eventually(cp.e.t, startBound, "the API server is ready", func() error {
		for what, p := range map[string]*Process{"the API server": cp.api, "etcd": cp.etcd} {
			if !p.Running() {
				cp.e.t.Fatalf("%s ended:\n%s", what, tail(p.Log, 20))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		says, err := cp.Client().Discovery().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").DoRaw(ctx)
		for line := range strings.Lines(string(says)) {
			if strings.HasPrefix(line, "[-]") {
				err = errors.Join(err, errors.New(strings.TrimSpace(line)))
			}
		}
		return err
	})
}

// StopAPI takes the API server away, as an outage does. etcd goes on.
func (cp *ControlPlane) StopAPI() { cp.api.Kill() }

// StartAPI brings it back and waits until it is ready.
func (cp *ControlPlane) StartAPI() {
	cp.e.t.Helper()
	cp.show(cp.own)
	cp.start()
	cp.waitReady()
}

// API is the API server's process.
func (cp *ControlPlane) API() *Process { return cp.api }

// ServeWith restarts the API server with a certificate that this harness's own clients need not accept. StartAPI, after
// StopAPI, is with its own again.
func (cp *ControlPlane) ServeWith(pair KeyPair) {
	cp.e.t.Helper()
	cp.StopAPI()
	cp.show(pair)
	cp.start()
	Eventually(cp.e.t, startBound, "the API server shows a certificate", func() error {
		conn, err := new(tls.Dialer).DialContext(context.Background(), "tcp", strings.TrimPrefix(cp.URL, "https://"))
		if err == nil {
			return conn.Close()
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil
		}
		return err
	})
}

// show puts a certificate where the API server, which reads it again when it changes, takes its own from.
func (cp *ControlPlane) show(pair KeyPair) {
	cp.e.t.Helper()
	_, _ = os.Remove(cp.serving.CertFile), os.Remove(cp.serving.KeyFile)
	err := errors.Join(os.Link(pair.CertFile, cp.serving.CertFile), os.Link(pair.KeyFile, cp.serving.KeyFile))
	if err != nil {
		cp.e.t.Fatalf("cannot change the API server's certificate: %v", err)
	}
}

// kubeconfig writes a kubeconfig for a user in groups, with a client certificate of its own, and returns its path.
func (cp *ControlPlane) kubeconfig(user string, groups ...string) string {
	cp.e.t.Helper()
	file := strings.NewReplacer(":", "-", "/", "-").Replace(user)
	pair := cp.CA.Issue(file, Cert{Name: user, Groups: groups})
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: cp.URL, CertificateAuthority: cp.CA.CertFile}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificate: pair.CertFile, ClientKey: pair.KeyFile}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: user}
	config.CurrentContext = "test"
	path := filepath.Join(filepath.Dir(pair.CertFile), file+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		cp.e.t.Fatalf("cannot write a kubeconfig: %v", err)
	}
	return path
}

// NodeKubeconfig is the kubeconfig of a node's agent: user system:node:<name> in group system:nodes.
func (cp *ControlPlane) NodeKubeconfig(name string) string {
	cp.e.t.Helper()
	return cp.kubeconfig("system:node:"+name, "system:nodes")
}

// RESTConfig is the administrator's, without a client-side rate limit.
func (cp *ControlPlane) RESTConfig() *rest.Config {
	cp.e.t.Helper()
	config := cp.e.RESTConfigOf(cp.AdminKubeconfig)
	config.QPS = -1
	return config
}

// RESTConfigOf is that of a kubeconfig. It holds the certificates themselves: a client's connections are shared by the names
// of their files, and the Env of an earlier test may have had its certificates under the same names.
func (e *Env) RESTConfigOf(kubeconfig string) *rest.Config {
	e.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err == nil {
		err = rest.LoadTLSFiles(config)
	}
	if err != nil {
		e.t.Fatalf("cannot use the kubeconfig %s: %v", kubeconfig, err)
	}
	config.CAFile, config.CertFile, config.KeyFile = "", "", ""
	return config
}

// Client is the administrator's.
func (cp *ControlPlane) Client() kubernetes.Interface {
	cp.e.t.Helper()
	client, err := kubernetes.NewForConfig(cp.RESTConfig())
	if err != nil {
		cp.e.t.Fatalf("cannot make a client: %v", err)
	}
	return client
}

// Kubectl runs kubectl as the administrator and returns its standard output; an error carries its standard error.
func (cp *ControlPlane) Kubectl(args ...string) (string, error) { return cp.KubectlIn("", args...) }

// KubectlIn is Kubectl with standard input: KubectlIn(manifest, "apply", "-f", "-").
func (cp *ControlPlane) KubectlIn(stdin string, args ...string) (string, error) {
	cp.e.t.Helper()
	cmd := exec.Command(Tool(cp.e.t, "kubectl"), append([]string{"--kubeconfig=" + cp.AdminKubeconfig, "--cache-dir=" + cp.e.Path("kubectl-cache")}, args...)...)
	return output(cmd, stdin)
}

// Apply is kubectl apply of manifests, which must succeed.
func (cp *ControlPlane) Apply(manifests string) {
	cp.e.t.Helper()
	if _, err := cp.KubectlIn(manifests, "apply", "-f", "-"); err != nil {
		cp.e.t.Fatalf("cannot apply: %v", err)
	}
}
