package downward

import (
	"strings"
	"testing"
)

func TestEnvFile_FindsTheFirstOfAName(t *testing.T) {
	const file = "# made by init\n\n  A='one'\nB='x # y' # z\nLONG='first\n second\n'\nAPART= 'no'\nEMPTY=''\nA='two'\r\nCR='c'\r\nexport E='f'"
	for name, want := range map[string]string{"A": "one", "B": "x # y", "LONG": "first\n second\n", "APART": "", "EMPTY": "", "CR": "c", "export E": "f"} {
		if got, found, err := EnvFile(file, name); got != want || !found || err != nil {
			t.Errorf("%s is %q, %v, %v; want %q", name, got, found, err, want)
		}
	}
	for _, name := range []string{"", "C", "a", " second", "# made by init"} {
		if got, found, err := EnvFile(file, name); found || err != nil {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

func TestEnvFile_NamesTheLineThatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"\nA": "line 2 of the file: it has no =", "='x'": "line 1 of the file: it has no name", "A ='x'": "space before the =",
		"A=x": "not in single quotes", "A=\"x\"": "not in single quotes", "A='x\ny": "line 1 of the file: the quote is not closed",
		"A='x'y": "more behind", "B='1'\nA='x\n'y": "line 2 of the file: there is more behind",
	} {
		if got, found, err := EnvFile(text, "KEY"); found || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("EnvFile(%q) = %q, %v, %v; want an error with %q", text, got, found, err, want)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A='b'", "A='b\nc'#", "A= 'x'\nB='", "'=''"} {
		f.Add(s, "A")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if v, found, err := EnvFile(text, name); v != "" && (!found || err != nil || !strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), v)) {
			t.Errorf("EnvFile(%q, %q) = %q, %v, %v", text, name, v, found, err)
		}
	})
}
