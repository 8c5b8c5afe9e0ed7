package yamldoc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func decodeFirst(t *testing.T, text string) (*v1.Pod, []Problem) {
	t.Helper()
	docs, broken := Parse([]byte(text))
	for _, p := range broken {
		return nil, []Problem{p}
	}
	if len(docs) != 1 {
		t.Fatalf("%d documents", len(docs))
	}
	p := &v1.Pod{}
	return p, append(docs[0].Duplicates(), docs[0].Decode(p)...)
}

func TestDecode_NamesEveryProblemWithItsLine(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"unknown field with a near name": {"kind: Pod\nspec:\n  containers:\n  - name: a\n    imgae: b\n",
			[]string{`line 5: spec.containers[0].imgae: unknown field: did you mean "image"?`}},
		"unknown field": {"metadata: {}\nwhatever: 1\n", []string{`line 2: whatever: unknown field: remove it or correct its name`}},
		"case matters":  {"Kind: Pod\n", []string{`line 1: Kind: unknown field: did you mean "kind"?`}},
		"all of them": {"spec:\n  hostNetwork: \"yes\"\n  containers: {}\n  priority: 99999999999\n", []string{
			"line 2: spec.hostNetwork: must be a boolean, but this is a string (yes)",
			"line 3: spec.containers: must be a list, but this is an object",
			"line 4: spec.priority: the number 99999999999 does not fit into 32 bits"}},
		"a number in an environment": {"spec:\n  containers:\n  - env:\n    - name: A\n      value: 8080\n",
			[]string{"line 5: spec.containers[0].env[0].value: must be a string, but this is a number (8080): put it in quotes"}},
		"yes is a boolean": {"metadata:\n  labels:\n    a: yes\n",
			[]string{"line 3: metadata.labels[a]: must be a string, but this is a boolean (true): put it in quotes"}},
		"a bad quantity": {"spec:\n  containers:\n  - resources:\n      limits:\n        cpu: lots\n",
			[]string{"line 5: spec.containers[0].resources.limits[cpu]: cannot read a string (lots) as Quantity: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"}},
		"a key twice":        {"kind: Pod\nspec: {}\nkind: Pod\n", []string{"line 3: kind: set twice: it is also on line 1"}},
		"a key twice, json":  {"{\"kind\": \"Pod\",\n\"kind\": \"Pod\"}", []string{"line 2: kind: set twice: it is also on line 1"}},
		"broken yaml":        {"kind: Pod\nspec: {}\nx: [a\n", []string{"line 3: not valid YAML: did not find expected ',' or ']'"}},
		"not an object":      {"- a\n- b\n", []string{"line 1: must be an object, but this is a list"}},
		"json lines":         {"{\n \"kind\": \"Pod\",\n\t\"spec\": {\n  \"nope\": 1}}", []string{"line 4: spec.nope: unknown field: remove it or correct its name"}},
		"an endless anchor":  {"metadata: &a\n  labels: *a\n", []string{"line 1: metadata.labels: the anchor &a contains itself"}},
		"merge of no object": {"metadata:\n  <<: 3\n", []string{"line 2: metadata: << must name an object or a list of objects"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := decodeFirst(t, c.in)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecode_ReadsWhatKubectlReads(t *testing.T) {
	p, problems := decodeFirst(t, `
metadata: {name: "web", annotations: &a {one: "1"}, labels: {<<: *a, two: '2'}}
spec:
  hostNetwork: on
  activeDeadlineSeconds: 0x10
  volumes:
  - name: c
    configMap: {name: c, defaultMode: 0644}
  containers:
  - name: a
    resources: {limits: {cpu: 1.5, memory: 64Mi}}
    readinessProbe: {tcpSocket: {port: 80}}
`[1:])
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := *p.Spec.Volumes[0].ConfigMap.DefaultMode; got != 0o644 {
		t.Errorf("mode %o", got)
	}
	if !p.Spec.HostNetwork || *p.Spec.ActiveDeadlineSeconds != 16 || p.Spec.Containers[0].Resources.Limits.Cpu().MilliValue() != 1500 {
		t.Errorf("spec %+v", p.Spec)
	}
	if d := cmp.Diff(map[string]string{"one": "1", "two": "2"}, p.Labels); d != "" {
		t.Error(d)
	}
}

func TestParse_GoesOnAfterABrokenDocument(t *testing.T) {
	docs, broken := Parse([]byte("# a comment\n---\nkind: A\n---\nkind: [\n--- # c\nkind: C\n---\n# nothing\n"))
	var got []string
	for _, d := range docs {
		got = append(got, d.String("kind"))
	}
	if d := cmp.Diff([]string{"A", "C"}, got); d != "" {
		t.Error(d)
	}
	if p, ok := broken[2]; !ok || p.Line < 4 || p.Line > 6 {
		t.Errorf("problems %v", broken)
	}
	if at := docs[1].At("kind", "x"); at.Line != 7 || docs[1].Index != 3 {
		t.Errorf("document %d, %v", docs[1].Index, at)
	}
}

func TestParse_TakesEveryDocumentOfAFile(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\n...\nb: 2\n":                      "1:a 3:b",
		"a: 1\n... # end\n---\nb: 2\n...\n":      "1:a 4:b",
		"%YAML 1.2\n---\na: 1\n...\n# nothing\n": "3:a",
		"a: |\n  ...\n  ---\nb: 2\n":             "1:a",
		"a: 1\n....\n":                           "!2",
		"--- {a: 1}\n--- {b: 2}\n...\n{c: 3}\n":  "1:a 2:b 4:c",
		"{\"a\": 1}\n{\"b\": 2}\n":               "!2",
		"a: 1\r\n...\r\nb: 2\r\n---\r\nc: 3\r\n": "1:a 3:b 5:c",
	} {
		var got []string
		docs, broken := Parse([]byte(text))
		for _, d := range docs {
			for _, key := range []string{"a", "b", "c"} {
				if strings.Contains(string(d.JSON()), `{"`+key) {
					got = append(got, fmt.Sprintf("%d:%s", d.At(key, "").Line, key))
				}
			}
		}
		for _, p := range broken {
			got = append(got, fmt.Sprintf("!%d", p.Line))
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
}

func TestParse_RefusesAliasesThatExplode(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		s := string(rune('a' + i))
		prev := string(rune('a' + i - 1))
		if i == 1 {
			prev = "a0"
		}
		b.WriteString(s + ": &" + s + " [*" + strings.Repeat(prev+",*", 9) + prev + "]\n")
	}
	if _, broken := Parse([]byte(b.String())); broken[1].Text != "too large once its aliases are expanded" {
		t.Errorf("problems %v", broken)
	}
}

func TestAt_FindsTheNearestLine(t *testing.T) {
	docs, _ := Parse([]byte("metadata:\n  annotations:\n    a.b/c: d\nspec:\n  containers:\n  - name: x\n"))
	for path, line := range map[string]int{
		"metadata.annotations[a.b/c]": 3, "spec.containers[0].image": 6, "spec.containers[0].name": 6, "spec.volumes": 4, "": 1,
	} {
		if got := docs[0].At(path, ""); got.Line != line {
			t.Errorf("%s: line %d, want %d", path, got.Line, line)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("kind: Pod\n---\n{\"a\": [1, 2.5, null]}\n"))
	f.Add([]byte("a: &x [*y]\nb: {<<: *x, yes: 0o7}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, _ := Parse(data)
		for _, d := range docs {
			d.Set(v1.Pod{})
			d.Items("items")
			var p v1.Pod
			for _, problem := range d.Decode(&p) {
				if problem.Text == "" {
					t.Errorf("a problem without text: %+v", problem)
				}
			}
		}
	})
}
