package compare

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// logQueries are what may be asked of a log, and what may not.
var logQueries = strings.Fields(`
	? ?follow=true ?follow=nonsense ?previous=true ?previous=nonsense ?timestamps=true ?timestamps=nonsense
	?tailLines=0 ?tailLines=1 ?tailLines=3 ?tailLines=100 ?tailLines=-1 ?tailLines=nonsense ?tailLines= ?tailLines=1&tailLines=2 ?tail=1 ?tail=all
	?limitBytes=0 ?limitBytes=1 ?limitBytes=8 ?limitBytes=100000 ?limitBytes=-1 ?limitBytes=nonsense ?limitBytes=8&tailLines=1 ?limitBytes=40&timestamps=true
	?sinceSeconds=0 ?sinceSeconds=1 ?sinceSeconds=1000 ?sinceSeconds=-1 ?sinceSeconds=nonsense ?sinceSeconds=1000&tailLines=1
	?sinceTime=2000-01-01T00:00:00Z ?sinceTime=2100-01-01T00:00:00Z ?sinceTime=2000-01-01T00:00:00.5%2B01:00 ?sinceTime=2000-01-01 ?sinceTime=nonsense ?sinceTime= ?sinceTime=2000-01-01T00:00:00Z&sinceSeconds=1
	?stream=All ?stream=Stdout ?stream=Stderr ?stream=stdout ?stream=nonsense ?stream= ?stream=Stdout&tailLines=1 ?stream=Stderr&timestamps=true
	?insecureSkipTLSVerifyBackend=true ?unknown=1 ?container=silent ?pretty=true`)

// logsOf are the containers whose whole log, and whose log of before, is asked for: pod/container.
var logsOf = strings.Fields(`logs/silent logs/long logs/bytes logs/init logs/none none/c burstable/again burstable/c burstable/init hostnet/c unready/c done/c pulls/c
	starting/init starting/c rejected/c elsewhere/c deleted/c static-node/c`)

// logs are those of containers, straight from the node and through the API server.
func (v *viewer) logs() (l Lines, err error) {
	node, api := v.root(), v.root()
	api.base = v.cp.URL
	ask := func(of, query string) {
		pod, container, _ := strings.Cut(of, "/")
		l = append(l, node.log(v, "node "+of+query, "/containerLogs/"+viewed+"/"+pod+"/"+container+query)...)
		l = append(l, api.log(v, "API "+of+query, "/api/v1/namespaces/"+viewed+"/pods/"+pod+"/log"+query+"&container="+url.QueryEscape(container))...)
	}
	for _, query := range logQueries {
		ask("logs/two", query)
	}
	for _, of := range logsOf {
		ask(of, "?")
		ask(of, "?previous=true")
	}
	for _, query := range []string{"?tailLines=1", "?tailLines=2", "?limitBytes=20000", "?timestamps=true&tailLines=4"} {
		ask("logs/long", query)
	}
	for _, of := range []string{"done/c", "starting/c", "pulls/c", "rejected/c", "burstable/again"} {
		ask(of, "?follow=true")
	}
	l = append(l, api.log(v, "API no container", "/api/v1/namespaces/"+viewed+"/pods/logs/log")...)
	return l, nil
}

// times are those before lines.
var times = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`)

// follows is how long a log is followed that does not end.
const follows = 300 * time.Millisecond

// log is what a path answers, and whether it ends.
func (a asker) log(v *viewer, what, path string) (l Lines) {
	limit := 20 * time.Second
	if strings.Contains(path, "follow=") {
		limit = follows
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), limit)
	defer cancel()
	got, err := a.askIn(ctx, http.MethodGet, path, "")
	if got.code == 0 {
		l.add(what, err)
		return l
	}
	if ctx.Err() != nil {
		l.add(what+" goes on", true)
		err = nil
	}
	if err != nil {
		l.add(what+" breaks off", err)
	}
	l.add(what, got.code)
	l.add(what+" type", got.header.Get("Content-Type"))
	text := string(got.body)
	if got.code >= http.StatusBadRequest {
		text = strings.TrimSpace(text)
	}
	text = times.ReplaceAllString(text, "<time>")                                                // before a long text is cut
	text = strings.ReplaceAll(text, "image can't be pulled", "trying and failing to pull image") // which of the two is chance
	l.add(what+" says", text)
	return l
}
