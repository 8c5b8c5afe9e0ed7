package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestJoinedImages pulls a private image with the secret of a service account, which the API server hands on to the pod;
// a pod of another account is not given it although it is on the node.
func TestJoinedImages(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	r := j.env.Registry(testbed.RegistryConfig{Auth: true})
	image := r.Push(testbed.Images(t)[2], "team/app", "1")
	flags, asked := j.env.CredentialProviders(r.Host+"/provided", "nowhere.example", "tokenAttributes: {serviceAccountTokenAudience: registry.example, "+
		"cacheType: ServiceAccount, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [example.com/role]}")
	j.agent.Stop()
	j.agent.AddArgs(flags...)
	j.agent.Start()
	provided := testbed.Images(t)[2]
	provided.Files = append(provided.Files, ociarchive.File{Path: "/provided"})
	byToken := r.Push(provided, "provided/app", "1")
	core := j.admin.CoreV1()
	config := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, r.Host, testbed.RegistryUser, testbed.RegistryPassword)
	_, err := core.Secrets("default").Create(t.Context(), &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: v1.SecretTypeDockerConfigJson, StringData: map[string]string{v1.DockerConfigJsonKey: config},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, secrets := range map[string][]v1.LocalObjectReference{"team": {{Name: "pull"}}, "others": nil, "broken": {{Name: "absent"}}} {
		sa := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}, ImagePullSecrets: secrets}
		if name == "team" {
			sa.Annotations = map[string]string{"example.com/role": "reader"}
		}
		if _, err := core.ServiceAccounts("default").Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	start := func(name, account, image string) {
		t.Helper()
		_, err := core.Pods("default").Create(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{
			ServiceAccountName: account, TerminationGracePeriodSeconds: new(int64(0)), Containers: []v1.Container{{Name: "c", Image: image}},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	start("mine", "team", image)
	j.waitReady("mine")
	j.waitEvents("mine", fmt.Sprintf("Pulled: Successfully pulled image %q in ", image))
	start("again", "team", image)
	j.waitReady("again")
	j.waitEvents("again", fmt.Sprintf("Pulled: Container image %q already present on machine and can be accessed by the pod", image))
	j.allowAudience("registry.example")
	start("token", "team", byToken)
	j.waitReady("token")
	b, err := os.ReadFile(asked)
	if want := r.Host + "/provided/app true map[example.com/role:reader]\n"; err != nil || string(b) != want {
		t.Errorf("the provider was asked %q, %v; want %q", b, err, want)
	}
	start("untold", "others", byToken) // its account lacks the annotation
	start("theirs", "others", image)
	start("lacking", "broken", image)
	for _, name := range []string{"theirs", "lacking", "untold"} {
		j.waitPod(name, "is refused the image", func(p *v1.Pod) error {
			if len(p.Status.ContainerStatuses) == 1 {
				if w := p.Status.ContainerStatuses[0].State.Waiting; w != nil && w.Reason == "ImagePullBackOff" && strings.Contains(w.Message, "ErrImagePull: ") {
					return nil
				}
			}
			return fmt.Errorf("it is %v", p.Status.ContainerStatuses)
		})
	}
	j.waitEvents("lacking", "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (absent);")
	testbed.Eventually(t, soon, "the Node names its images", func() error {
		n, err := core.Nodes().Get(t.Context(), j.agent.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, i := range n.Status.Images {
			for _, name := range i.Names {
				if name == testbed.BusyboxImage && i.SizeBytes > 0 {
					return nil
				}
			}
		}
		return fmt.Errorf("it names %v", n.Status.Images)
	})
	j.kubectl("delete", "pods", "--all", "--timeout=30s")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
}

// allowAudience lets nodes ask for service account tokens of an audience that no pod names (KEP-4412).
func (j *joined) allowAudience(audience string) {
	j.t.Helper()
	rules := j.admin.RbacV1()
	name := metav1.ObjectMeta{Name: "nodes-ask-for-" + audience}
	_, err := rules.ClusterRoles().Create(j.t.Context(), &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"request-serviceaccounts-token-audience"}, APIGroups: []string{""}, Resources: []string{audience}},
	}}, metav1.CreateOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
	_, err = rules.ClusterRoleBindings().Create(j.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:nodes"}},
	}, metav1.CreateOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
}
