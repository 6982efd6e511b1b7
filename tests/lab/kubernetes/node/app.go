package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// flow counts the requests from this pod to one workload over one kind of connection.
type flow struct {
	To string `json:"to"`
	// Connections is "fresh" (a new mTLS connection for every request) or "kept" (one that stays).
	Connections string `json:"connections"`
	OK          int    `json:"ok"`
	Failed      int    `json:"failed"`
	// Domains has the trust domains that the servers' Envoys knew this pod by.
	Domains map[string]int `json:"domains,omitempty"`

	url string
}

// failure is one request that failed, with what is known of why. It judges nothing: counts.py does.
type failure struct {
	From        string  `json:"from"`
	To          string  `json:"to"`
	Connections string  `json:"connections"`
	At          float64 `json:"at"`
	// Age is how many seconds this process had been running.
	Age float64 `json:"age"`
	// Address is where this pod's Envoy connected from, if it did: the server's Envoy logs it too.
	Address string `json:"address,omitempty"`
	// Why is what this pod's Envoy said, or Go where no Envoy answered.
	Why string `json:"why"`
}

// answer is what the application says to who asks.
type answer struct {
	Workload string `json:"workload"`
	// Caller is the SPIFFE ID that the server's Envoy verified; empty: the connection was not mTLS.
	Caller string `json:"caller"`
}

var (
	countsMu sync.Mutex
	// One log may hold the counts of several processes: a StatefulSet's next pod has the same name.
	started = time.Now().UnixNano()
	self    = os.Getenv("WORKLOAD")
)

const (
	// An application that is to end goes on serving until no other one has asked it for so long: each asks once a
	// second.
	quiet = 3 * time.Second
	// It ends by then all the same: with its sidecar, within a pod's 30 seconds of grace.
	drainLimit = 20 * time.Second
)

// say writes one line of the log: a word and a JSON value.
func say(word string, value any) {
	b, _ := json.Marshal(value)
	fmt.Println(word, string(b))
}

func sayCounts(flows []*flow) {
	if len(flows) > 0 {
		countsMu.Lock()
		defer countsMu.Unlock()
		say("COUNTS", map[string]any{"from": self, "process": started, "flows": flows})
	}
}

// runApp serves on PORT (8080) and asks every workload of TARGETS (NAMESPACE/NAME…) RATE times a
// second over each kind of connection. Its log has a line of counts a second, and each failure.
//
// Told to end, it stops asking at once, and serving when nobody asks any more.
//
//	WORKLOAD   NAMESPACE/NAME of this one
//	GATEWAY    ask through this host, with the path /NAMESPACE/NAME, instead of each workload's Service
func runApp() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	m := http.NewServeMux()
	var asked atomic.Int64
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		who := caller(r.Header.Get("X-Forwarded-Client-Cert"))
		if who != "" { // a probe comes without
			asked.Store(time.Now().UnixNano())
		}
		json.NewEncoder(w).Encode(answer{self, who})
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	s := &http.Server{Addr: ":" + port, Handler: m}
	go func() { fmt.Println(s.ListenAndServe()) }()
	rate, _ := strconv.ParseFloat(os.Getenv("RATE"), 64)
	if rate <= 0 {
		rate = 1
	}
	flows := flowsOf(strings.Fields(os.Getenv("TARGETS")), os.Getenv("GATEWAY"))
	var wg sync.WaitGroup
	for i, f := range flows {
		wg.Add(1)
		go func() {
			defer wg.Done()
			// Spread over the period: 20 pods that ask 7 others at the same instant are a burst, not a load.
			time.Sleep(time.Duration(i) * time.Second / time.Duration(rate*float64(len(flows))))
			f.ask(ctx, rate)
		}()
	}
	go func() {
		for range time.Tick(time.Second) {
			sayCounts(flows)
		}
	}()
	<-ctx.Done()
	wg.Wait()
	sayCounts(flows)
	// Callers learn late that this endpoint goes: how late is the control plane's business, and the machine's.
	end := time.Now().Add(drainLimit)
	asked.Store(time.Now().UnixNano())
	for time.Now().Before(end) && time.Since(time.Unix(0, asked.Load())) < quiet {
		time.Sleep(100 * time.Millisecond)
	}
	c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Shutdown(c)
}

func flowsOf(targets []string, gateway string) []*flow {
	var flows []*flow
	for _, to := range targets {
		ns, name, _ := strings.Cut(to, "/")
		for kind, port := range map[string]int{"kept": 8000, "fresh": 8001} {
			url := fmt.Sprintf("http://%s.%s.svc:%d/", name, ns, port)
			if gateway != "" {
				url = fmt.Sprintf("%s/%s/%s", gateway, kind, to)
			}
			flows = append(flows, &flow{To: to, Connections: kind, url: url, Domains: map[string]int{}})
		}
	}
	return flows
}

// ask sends requests until ctx ends.
func (f *flow) ask(ctx context.Context, rate float64) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: f.Connections == "fresh"}}
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		domain, failed := f.once(client)
		countsMu.Lock()
		if failed == nil {
			f.OK++
			f.Domains[domain]++
		} else {
			f.Failed++
			failed.From, failed.To, failed.Connections = self, f.To, f.Connections
			now := time.Now()
			failed.At = float64(now.UnixMilli()) / 1000
			failed.Age = time.Duration(now.UnixNano() - started).Seconds()
			say("FAILED", failed)
		}
		countsMu.Unlock()
	}
}

// once sends one request: the trust domain that the server knows this pod by, or why it failed.
func (f *flow) once(client *http.Client) (domain string, failed *failure) {
	r, err := client.Get(f.url)
	if err != nil {
		return "", &failure{Why: innermost(err)}
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, 2000))
	r.Body.Close()
	if err != nil {
		return "", &failure{Why: innermost(err)}
	}
	if r.StatusCode != http.StatusOK {
		// What this pod's Envoy says of the connection that it tried (SAID_BY_ENVOY in apps.py).
		said := r.Header.Get("X-Lab-Transport-Failure")
		why := fmt.Sprintf("%d %s; flags %s; %s", r.StatusCode, strings.TrimSpace(string(b)), r.Header.Get("X-Lab-Flags"), said)
		return "", &failure{Why: why, Address: r.Header.Get("X-Lab-Address")}
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil || a.Workload != f.To {
		return "", &failure{Why: fmt.Sprintf("200 from %q", a.Workload)}
	}
	if a.Caller == "" {
		return "", &failure{Why: "200 without mTLS"}
	}
	domain, _, _ = strings.Cut(strings.TrimPrefix(a.Caller, "spiffe://"), "/")
	return domain, nil
}

// innermost is an error without the addresses that make each of its kind look different.
func innermost(err error) string {
	s := err.Error()
	return s[strings.LastIndex(s, ": ")+1:]
}

// caller is the URI of an X-Forwarded-Client-Cert header's last element: the directly connected peer.
func caller(xfcc string) string {
	i := strings.LastIndex(xfcc, "URI=")
	if i < 0 {
		return ""
	}
	uri, _, _ := strings.Cut(xfcc[i+4:], ";")
	return uri
}
