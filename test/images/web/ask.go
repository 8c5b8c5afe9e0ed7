package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

const askEvery = 25 * time.Millisecond

// ask is a client that minds every request: it looks the name up and connects anew for each. It prints each failure, and
// the sums every second and at the end, so that a log that is read at any time tells how far it was.
func ask(url string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answered, failed, told := 0, 0, time.Now()
	for ctx.Err() == nil {
		began := time.Now()
		if err := once(&client, url); err != nil {
			failed++
			log.Printf("failed after %s: %v", time.Since(began).Round(time.Millisecond), err)
		} else {
			answered++
		}
		if time.Since(told) > time.Second {
			told = time.Now()
			log.Printf("answered %d failed %d", answered, failed)
		}
		pause(ctx, askEvery)
	}
	log.Printf("answered %d failed %d", answered, failed)
	return 0
}

func once(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}
