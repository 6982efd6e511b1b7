package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// container supervises one process of a pod. Its fields are guarded by w.mu.
type container struct {
	w       *podWorker
	spec    *v1.Container
	sidecar bool
	log     string

	state, last    v1.ContainerState
	restarts       int32
	ready, started bool
	final          bool // will not run again
	pid            int
	uid, gid       int
	env            []string
	exited         chan struct{} // closed when the current process is gone
	quit           chan struct{} // closed by end(): do not start again
}

func newContainer(w *podWorker, c *v1.Container, init bool) *container {
	k := &container{w: w, spec: c, sidecar: init && c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways,
		log: filepath.Join(w.n.run, "logs", fmt.Sprintf("%s_%s_%s.log", w.pod.Namespace, w.pod.Name, c.Name)), quit: make(chan struct{})}
	k.state.Waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
	return k
}

func (c *container) status() v1.ContainerStatus {
	started := c.started
	return v1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, ImageID: "lab://" + c.spec.Image, State: c.state, LastTerminationState: c.last,
		RestartCount: c.restarts, Ready: c.ready, Started: &started, ContainerID: "lab://" + string(c.w.pod.UID) + "/" + c.spec.Name}
}

func (c *container) set(f func()) {
	c.w.mu.Lock()
	f()
	c.w.mu.Unlock()
	c.w.changed()
}

func (c *container) isStarted() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.started
}

func (c *container) exitCode() int32 {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.state.Terminated == nil {
		return -1
	}
	return c.state.Terminated.ExitCode
}

// launch starts the process through "node init".
func (c *container) launch() (*exec.Cmd, error) {
	w := c.w
	list, env, err := w.environ(c.spec)
	if err != nil {
		return nil, err
	}
	argv, uid, gid, err := w.command(c.spec, env)
	if err != nil {
		return nil, err
	}
	binds, err := w.mounts(c.spec)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, "containers", c.spec.Name)
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	cwd := c.spec.WorkingDir
	if cwd == "" {
		cwd = "/"
	}
	spec := initSpec{Root: root, BinDir: w.n.bin, ShareDir: w.n.share, CertsDir: w.n.certs, HostsDir: w.n.hostsDir(w.pod.Namespace), NetNS: "/run/netns/" + w.ns,
		Hostname: w.pod.Name, Mounts: binds, Dir: cwd, UID: uid, GID: gid, Argv: argv, Env: list, NodeIP: nodeIP}
	b, _ := json.Marshal(spec)
	file := filepath.Join(dir, "spec.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	out.Chmod(0o666) // the process may reopen /dev/stdout as another user
	cmd := exec.Command("/proc/self/exe", "init", file)
	cmd.Stdout, cmd.Stderr = out, out
	// Nobody is let in before the file system is there: an exec would see another one.
	built, building, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer built.Close()
	cmd.ExtraFiles = []*os.File{building}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS, Setsid: true}
	err = cmd.Start()
	building.Close()
	if err != nil {
		return nil, err
	}
	io.Copy(io.Discard, built)
	c.w.mu.Lock()
	c.pid, c.uid, c.gid, c.env, c.exited = cmd.Process.Pid, uid, gid, list, make(chan struct{})
	c.w.mu.Unlock()
	return cmd, nil
}

// supervise runs the container until it is final; up is closed after the first start.
func (c *container) supervise(policy v1.RestartPolicy, up chan struct{}) {
	back := time.Second
	first := func() {
		if up != nil {
			close(up)
			up = nil
		}
	}
	defer first()
	defer c.set(func() { c.final = true })
	for {
		begun := metav1.Now()
		cmd, err := c.launch()
		code := int32(128)
		if err != nil {
			c.w.logf("%s: %v", c.spec.Name, err)
			c.set(func() {
				c.state = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CreateContainerError", Message: err.Error()}}
			})
		} else {
			c.set(func() {
				c.state = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: begun}}
				c.started = c.spec.StartupProbe == nil
				c.ready = c.started && c.spec.ReadinessProbe == nil && policy != v1.RestartPolicyOnFailure
			})
			select {
			case <-c.quit: // end() came while the process was being started
				c.kill()
			default:
			}
			go c.probe(c.exited)
			if l := c.spec.Lifecycle; l != nil && l.PostStart != nil {
				c.hook(l.PostStart, time.Now().Add(2*time.Minute))
			}
			first()
			werr := cmd.Wait()
			code = int32(cmd.ProcessState.ExitCode())
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				code = 128 + int32(ws.Signal())
			}
			reason := "Completed"
			if werr != nil {
				reason = "Error"
			}
			c.set(func() {
				close(c.exited)
				c.pid, c.ready, c.started = 0, false, false
				c.state = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: begun, FinishedAt: metav1.Now()}}
			})
		}
		if policy == v1.RestartPolicyNever || policy == v1.RestartPolicyOnFailure && code == 0 {
			return
		}
		select {
		case <-c.w.stop:
			return
		case <-c.quit:
			return
		default:
		}
		c.w.logf("%s: exit %d, again in %s", c.spec.Name, code, back)
		c.set(func() {
			if c.state.Terminated != nil {
				c.last = c.state
				c.state = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			}
		})
		select {
		case <-c.w.stop:
			return
		case <-c.quit:
			return
		case <-time.After(back):
		}
		if time.Since(begun.Time) > time.Minute {
			back = time.Second
		} else if back < 16*time.Second {
			back *= 2
		}
		c.set(func() { c.restarts++ })
	}
}

func (c *container) current() (pid int, exited chan struct{}) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.pid, c.exited
}

func (c *container) preStop(deadline time.Time) {
	if pid, _ := c.current(); pid != 0 && c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		c.hook(c.spec.Lifecycle.PreStop, deadline)
	}
}

// end stops the container for good: SIGTERM now, SIGKILL at the deadline.
func (c *container) end(deadline time.Time) {
	c.w.mu.Lock()
	select {
	case <-c.quit:
	default:
		close(c.quit)
	}
	c.w.mu.Unlock()
	pid, exited := c.current()
	if pid == 0 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-exited:
		return
	case <-time.After(time.Until(deadline)):
	}
	syscall.Kill(pid, syscall.SIGKILL)
	<-exited
}

func (c *container) hook(h *v1.LifecycleHandler, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var err error
	switch {
	case h.Exec != nil:
		err = c.exec(ctx, h.Exec.Command, nil, io.Discard, io.Discard)
	case h.HTTPGet != nil:
		err = c.httpGet(ctx, h.HTTPGet)
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		}
	}
	if err != nil {
		c.w.logf("%s: hook: %v", c.spec.Name, err)
	}
}

// exec runs argv inside the container's namespaces as the container's user.
func (c *container) exec(ctx context.Context, argv []string, in io.Reader, out, errw io.Writer) error {
	c.w.mu.Lock()
	pid, uid, gid, env := c.pid, c.uid, c.gid, c.env
	c.w.mu.Unlock()
	if pid == 0 {
		return errors.New("container is not running")
	}
	a := []string{"-t", strconv.Itoa(pid), "-m", "-n", "-p", "-u", "--root", "--wd", "-S", strconv.Itoa(uid), "-G", strconv.Itoa(gid), "--"}
	cmd := exec.CommandContext(ctx, "/usr/bin/nsenter", append(a, argv...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, errw
	if in != nil {
		p, err := cmd.StdinPipe() // not cmd.Stdin: Wait must not wait for the client to close
		if err != nil {
			return err
		}
		go func() { io.Copy(p, in); p.Close() }()
	}
	return cmd.Run()
}

func (c *container) port(p intstr.IntOrString) int {
	if p.Type == intstr.Int {
		return p.IntValue()
	}
	for _, q := range c.spec.Ports {
		if q.Name == p.StrVal {
			return int(q.ContainerPort)
		}
	}
	return 0
}

var probeClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func (c *container) httpGet(ctx context.Context, g *v1.HTTPGetAction) error {
	host := g.Host
	if host == "" {
		host = c.w.ip
	}
	scheme := strings.ToLower(string(g.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s://%s:%d/%s", scheme, host, c.port(g.Port), strings.TrimPrefix(g.Path, "/")), nil)
	if err != nil {
		return err
	}
	for _, h := range g.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
	}
	r, err := probeClient.Do(req)
	if err != nil {
		return err
	}
	r.Body.Close()
	if r.StatusCode >= 400 {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	return nil
}

func (c *container) try(p *v1.Probe) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return c.httpGet(ctx, p.HTTPGet)
	case p.Exec != nil:
		return c.exec(ctx, p.Exec.Command, nil, io.Discard, io.Discard)
	case p.TCPSocket != nil:
		k, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", c.w.ip, c.port(p.TCPSocket.Port)))
		if err == nil {
			k.Close()
		}
		return err
	}
	return nil
}

// watch calls turn(true|false) when probe p crosses a threshold, until exited.
func (c *container) watch(p *v1.Probe, exited chan struct{}, turn func(ok bool) (more bool)) {
	wait := time.Duration(p.InitialDelaySeconds) * time.Second
	period := time.Duration(max(p.PeriodSeconds, 1)) * time.Second
	limit := time.Now().Add(wait + period*time.Duration(max(p.FailureThreshold, 1)))
	var good, bad int32
	ever := false
	for {
		select {
		case <-exited:
			return
		case <-time.After(wait):
		}
		wait = period
		if c.try(p) == nil {
			good, bad, ever = good+1, 0, true
			if good >= max(p.SuccessThreshold, 1) && !turn(true) {
				return
			}
		} else if !ever && time.Now().Before(limit) {
			wait = 200 * time.Millisecond // faster than a kubelet until the first success
		} else {
			good, bad = 0, bad+1
			if bad >= max(p.FailureThreshold, 1) && !turn(false) {
				return
			}
		}
	}
}

func (c *container) probe(exited chan struct{}) {
	if p := c.spec.StartupProbe; p != nil {
		c.watch(p, exited, func(ok bool) bool {
			if ok {
				c.set(func() { c.started, c.ready = true, c.spec.ReadinessProbe == nil })
				return false
			}
			c.w.logf("%s: startup probe failed", c.spec.Name)
			c.kill()
			return false
		})
	}
	if p := c.spec.LivenessProbe; p != nil {
		go c.watch(p, exited, func(ok bool) bool {
			if !ok {
				c.w.logf("%s: liveness probe failed", c.spec.Name)
				c.kill()
			}
			return ok
		})
	}
	if p := c.spec.ReadinessProbe; p != nil {
		c.watch(p, exited, func(ok bool) bool {
			select {
			case <-exited:
				return false
			default:
			}
			c.w.mu.Lock()
			same := c.ready == ok
			c.w.mu.Unlock()
			if !same {
				c.set(func() { c.ready = ok })
			}
			return true
		})
	}
}

func (c *container) kill() {
	if pid, _ := c.current(); pid != 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}
