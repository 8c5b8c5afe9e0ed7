// Command credentialplugin is a credential provider of the harness (credentialprovider.kubelet.k8s.io/v1): it answers
// every image with the login in its environment, and notes in a file what it was asked about and told.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var q credentialprovider.CredentialProviderRequest
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return err
	}
	log, err := os.OpenFile(os.Getenv("ASKED"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(log, q.Image, len(q.ServiceAccountToken) > 0, q.ServiceAccountAnnotations)
	if err := errors.Join(err, log.Close()); err != nil {
		return err
	}
	if len(os.Args) > 1 {
		return errors.New(os.Args[1])
	}
	return json.NewEncoder(os.Stdout).Encode(credentialprovider.CredentialProviderResponse{
		TypeMeta: metav1.TypeMeta{APIVersion: q.APIVersion, Kind: "CredentialProviderResponse"}, CacheKeyType: credentialprovider.ImagePluginCacheKeyType,
		Auth: map[string]credentialprovider.AuthConfig{q.Image: {Username: os.Getenv("NAME"), Password: os.Getenv("PASSWORD")}},
	})
}
