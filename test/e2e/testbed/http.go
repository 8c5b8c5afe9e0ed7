package testbed

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Get returns the body of a GET, and an error unless the code is 2xx. It uses no proxy and keeps no connection.
func Get(ctx context.Context, url string) (string, error) { return do(ctx, http.MethodGet, url, "") }

// Post sends a body and returns the answer as Get does.
func Post(ctx context.Context, url, body string) (string, error) {
	return do(ctx, http.MethodPost, url, body)
}

func do(ctx context.Context, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(b)))
	}
	return string(b), err
}
