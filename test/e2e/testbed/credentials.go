package testbed

import (
	"fmt"
	"os"
	"path/filepath"
)

// CredentialProviders writes a configuration with two credential providers and returns the agent's flags for them, and
// the file that lists the images that they were asked about, one a
// line, whether with a service account token, and the annotations of the account. The one knows the login of a registry with
// RegistryConfig.Auth and answers for images below good; the other fails for those below bad, saying "no role".
// More is more of the first one's configuration, in YAML's flow style.
func (e *Env) CredentialProviders(good, bad, more string) (flags []string, asked string) {
	e.t.Helper()
	program := buildProgram(e.t, "./test/credentialplugin")
	dir := e.Path("credential-providers")
	asked = filepath.Join(dir, "asked")
	config := "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n"
	for name, p := range map[string]struct{ match, more string }{"good": {good, more}, "bad": {bad, `args: ["no role"]`}} {
		config += fmt.Sprintf("- {name: %s, apiVersion: credentialprovider.kubelet.k8s.io/v1, defaultCacheDuration: 1h, matchImages: [%q], "+
			"env: [{name: NAME, value: %s}, {name: PASSWORD, value: %s}, {name: ASKED, value: %q}]", name, p.match, RegistryUser, RegistryPassword, asked)
		if p.more != "" {
			config += ", " + p.more
		}
		config += "}\n"
	}
	file := e.WriteFile(config, "credential-providers", "config.yaml")
	for _, name := range []string{"good", "bad"} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			e.t.Fatalf("cannot install a credential provider: %v", err)
		}
	}
	return []string{"--image-credential-provider-config=" + file, "--image-credential-provider-bin-dir=" + dir}, asked
}
