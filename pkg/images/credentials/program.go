package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	answerTime = time.Minute     // for a plugin to answer in
	lingerTime = 2 * time.Second // for those whom it started to let go of its output
	maxAnswer  = 1 << 20         // bytes
	maxWords   = 512             // bytes of what it says on its standard error
)

// program is the executable of a plugin.
type program struct {
	path    string
	args    []string
	env     []string
	version string // apiVersion of request and response
}

// run asks the program: the request on its standard input, the response on its standard output.
func (p program) run(ctx context.Context, q *credentialprovider.CredentialProviderRequest) (*credentialprovider.CredentialProviderResponse, error) {
	q.APIVersion, q.Kind = p.version, "CredentialProviderRequest"
	in, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	timed, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	out, words := &bounded{max: maxAnswer}, &bounded{max: maxWords}
	cmd := exec.CommandContext(timed, p.path, p.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, words
	cmd.Env, cmd.WaitDelay = p.env, lingerTime
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		return nil, fmt.Errorf("%s gave no answer in %s", p.path, answerTime)
	case err != nil:
		return nil, fmt.Errorf("%s failed: %w: %s", p.path, err, strings.TrimSpace(words.buf.String()))
	case out.over:
		return nil, fmt.Errorf("%s answered with more than %d bytes", p.path, maxAnswer)
	}
	r := &credentialprovider.CredentialProviderResponse{}
	if json.Unmarshal(out.buf.Bytes(), r) != nil { // the decoder's own error may quote the password
		return nil, errors.New("its answer is not valid JSON")
	}
	if r.Kind != "CredentialProviderResponse" || r.APIVersion != p.version {
		return nil, fmt.Errorf("its answer is %q of %q, not CredentialProviderResponse of %s", r.Kind, r.APIVersion, p.version)
	}
	return r, nil
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := b.max - b.buf.Len(); len(p) > room {
		p, b.over = p[:room], true
	}
	b.buf.Write(p)
	return n, nil
}
