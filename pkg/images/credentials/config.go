package credentials

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	kubelet "k8s.io/kubelet/config/v1"

	"github.com/minikubelet/minikubelet/pkg/config/yamldoc"
)

const configKind = "CredentialProviderConfig"

// configVersions are those of the configuration file; they differ in what they may say, not in what it means.
var configVersions = []string{"kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1", "kubelet.config.k8s.io/v1alpha1"}

// requestVersions are those of what plugins are asked and answer.
var requestVersions = []string{
	credentialprovider.SchemeGroupVersion.String(), "credentialprovider.kubelet.k8s.io/v1beta1", "credentialprovider.kubelet.k8s.io/v1alpha1",
}

// readConfig reads a CredentialProviderConfig, or all those of a directory, by name. The error lists everything that is
// wrong, with file and line.
func readConfig(path, binDir string) ([]kubelet.CredentialProvider, error) {
	files, err := configFiles(path)
	if err != nil {
		return nil, err
	}
	var all []kubelet.CredentialProvider
	var errs []error
	for _, f := range files {
		providers, err := readConfigFile(f)
		all, errs = append(all, providers...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: providers: must name at least one", path)
	}
	seen := map[string]bool{}
	for i := range all {
		p := &all[i]
		if seen[p.Name] {
			errs = append(errs, fmt.Errorf("%s: provider %s: there is another one of this name", path, p.Name))
		}
		seen[p.Name] = true
		for _, why := range problems(p, binDir) {
			errs = append(errs, fmt.Errorf("%s: provider %q: %s", path, p.Name, why))
		}
	}
	return all, errors.Join(errs...)
}

func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration of credential providers: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration of credential providers: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".json" || ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("cannot read the configuration of credential providers: %s has no .yaml, .yml or .json file", path)
	}
	return files, nil
}

func readConfigFile(path string) ([]kubelet.CredentialProvider, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration of credential providers: %w", err)
	}
	docs, broken := yamldoc.Parse(b)
	var errs []error
	for _, p := range broken {
		errs = append(errs, fmt.Errorf("%s: %s", path, p))
	}
	docs = slices.DeleteFunc(docs, func(d *yamldoc.Document) bool { return d.Empty() })
	if len(docs) != 1 || len(errs) > 0 {
		return nil, cmp.Or(errors.Join(errs...), fmt.Errorf("%s: must hold one %s, not %d documents", path, configKind, len(docs)))
	}
	d := docs[0]
	var c kubelet.CredentialProviderConfig
	found := append(d.Duplicates(), d.Decode(&c)...)
	if d.String("kind") != configKind || !slices.Contains(configVersions, d.String("apiVersion")) {
		found = append(found, d.At("kind", fmt.Sprintf("must be %s of %s, not %q of %q", configKind, configVersions[0], d.String("kind"), d.String("apiVersion"))))
	}
	for _, p := range found {
		errs = append(errs, fmt.Errorf("%s: %s", path, p))
	}
	return c.Providers, errors.Join(errs...)
}

// problems are what is wrong with one provider, program included.
func problems(p *kubelet.CredentialProvider, binDir string) []string {
	var out []string
	fail := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case p.Name == "" || p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/ "):
		fail("name: must be the name of a program, without / and spaces")
	default:
		program := filepath.Join(binDir, p.Name)
		if info, err := os.Stat(program); err != nil {
			fail("name: %v: put the program there, or name its directory with --image-credential-provider-bin-dir", err)
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			fail("name: %s is not executable: chmod +x", program)
		}
	}
	if !slices.Contains(requestVersions, p.APIVersion) {
		fail("apiVersion: %q is none of %s", p.APIVersion, strings.Join(requestVersions, ", "))
	}
	if len(p.MatchImages) == 0 {
		fail("matchImages: must name at least one pattern, such as registry.example.com")
	}
	for i, m := range p.MatchImages {
		if m == "" || strings.Contains(m, "://") || strings.ContainsAny(m, " \t") {
			fail("matchImages[%d]: %q is no pattern: write registry.example.com:5000/team or *.example.com", i, m)
		}
	}
	if p.DefaultCacheDuration == nil || p.DefaultCacheDuration.Duration < 0 {
		fail("defaultCacheDuration: is required, and not negative; 0s for none")
	}
	return append(out, tokenProblems(p)...)
}

// tokenProblems are what is wrong with the service account token that a plugin asks for (KEP-4412).
func tokenProblems(p *kubelet.CredentialProvider) []string {
	t := p.TokenAttributes
	if t == nil {
		return nil
	}
	var out []string
	if p.APIVersion != requestVersions[0] {
		out = append(out, "tokenAttributes: needs apiVersion "+requestVersions[0])
	}
	if t.ServiceAccountTokenAudience == "" {
		out = append(out, "tokenAttributes.serviceAccountTokenAudience: is required")
	}
	switch {
	case t.RequireServiceAccount == nil:
		out = append(out, "tokenAttributes.requireServiceAccount: is required")
	case !*t.RequireServiceAccount && len(t.RequiredServiceAccountAnnotationKeys) > 0:
		out = append(out, "tokenAttributes.requiredServiceAccountAnnotationKeys: needs requireServiceAccount: true")
	}
	if t.CacheType != kubelet.ServiceAccountServiceAccountTokenCacheType && t.CacheType != kubelet.TokenServiceAccountTokenCacheType {
		out = append(out, "tokenAttributes.cacheType: must be ServiceAccount or Token")
	}
	for _, k := range t.RequiredServiceAccountAnnotationKeys {
		if slices.Contains(t.OptionalServiceAccountAnnotationKeys, k) {
			out = append(out, fmt.Sprintf("tokenAttributes: annotation %s cannot be both required and optional", k))
		}
	}
	return out
}
