package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

type token struct {
	data  []byte
	renew time.Time
}

// podWorker owns one pod from binding to removal.
type podWorker struct {
	n      *node
	pod    *v1.Pod // as first seen; labels and status move on in the API only
	dir    string
	ns     string // network namespace
	ip     string
	tokens map[string]*token
	stop   chan struct{} // closed once: the pod is to go
	once   sync.Once
	grace  time.Duration
	gone   chan struct{} // closed when nothing of the pod is left

	mu       sync.Mutex
	start    metav1.Time
	init     []*container
	main     []*container
	initDone bool
	reason   string // why the pod is still waiting
	dirty    chan struct{}
}

func newPodWorker(n *node, pod *v1.Pod) *podWorker {
	w := &podWorker{n: n, pod: pod, dir: filepath.Join(n.run, "pods", string(pod.UID)), ns: "pod-" + string(pod.UID)[:8],
		tokens: map[string]*token{}, stop: make(chan struct{}), gone: make(chan struct{}), dirty: make(chan struct{}, 1), start: metav1.Now()}
	for i := range pod.Spec.InitContainers {
		w.init = append(w.init, newContainer(w, &pod.Spec.InitContainers[i], true))
	}
	for i := range pod.Spec.Containers {
		w.main = append(w.main, newContainer(w, &pod.Spec.Containers[i], false))
	}
	return w
}

// remove asks the worker to end the pod within grace.
func (w *podWorker) remove(grace time.Duration) {
	w.once.Do(func() { w.grace = grace; close(w.stop) })
}

func (w *podWorker) stopping() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// sleep waits for d, or returns false when the pod is to go.
func (w *podWorker) sleep(d time.Duration) bool {
	select {
	case <-w.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (w *podWorker) changed() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

func (w *podWorker) logf(format string, a ...any) {
	log.Printf("%s/%s: %s", w.pod.Namespace, w.pod.Name, fmt.Sprintf(format, a...))
}

func (w *podWorker) prepare() {
	ip := w.n.pool.alloc()
	w.mu.Lock()
	w.ip = ip
	w.mu.Unlock()
	for {
		err := setupNet(w.ns, w.ip)
		if err == nil {
			break
		}
		w.logf("network: %v", err)
		teardownNet(w.ns, w.ip)
		if !w.sleep(time.Second) {
			return
		}
	}
	for {
		err := w.syncVolumes()
		if err == nil {
			return
		}
		w.mu.Lock()
		w.reason = err.Error()
		w.mu.Unlock()
		w.changed()
		if !w.sleep(500 * time.Millisecond) {
			return
		}
	}
}

func (w *podWorker) work() {
	defer close(w.gone)
	done := make(chan struct{})
	go w.writeStatus(done)
	w.prepare()
	w.mu.Lock()
	w.reason = ""
	w.mu.Unlock()
	go func() {
		for w.sleep(5 * time.Second) {
			if err := w.syncVolumes(); err != nil {
				w.logf("refresh: %v", err)
			}
		}
	}()
	if w.runInit() {
		w.mu.Lock()
		w.initDone = true
		w.mu.Unlock()
		var wg sync.WaitGroup
		for _, c := range w.main {
			up := make(chan struct{})
			wg.Add(1)
			go func() { defer wg.Done(); c.supervise(w.pod.Spec.RestartPolicy, up) }()
			select { // a postStart hook holds the next container back
			case <-up:
			case <-w.stop:
			}
		}
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		select {
		case <-w.stop:
		case <-finished: // a Job's pod: its sidecars end with it
			for _, c := range w.init {
				c.end(time.Now().Add(10 * time.Second))
			}
			w.changed()
			<-w.stop
		}
	}
	w.terminate()
	close(done)
	w.patchStatus()
	teardownNet(w.ns, w.ip)
	w.n.pool.free(w.ip)
	os.RemoveAll(w.dir)
	err := w.n.kube.CoreV1().Pods(w.pod.Namespace).Delete(context.TODO(), w.pod.Name,
		metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0)), Preconditions: &metav1.Preconditions{UID: &w.pod.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !w.n.closing.Load() {
		w.logf("delete: %v", err)
	}
	w.logf("gone")
}

// runInit runs init containers in order; a restartable one (a native sidecar)
// only has to have started before the next begins.
func (w *podWorker) runInit() bool {
	for _, c := range w.init {
		if c.sidecar {
			up := make(chan struct{})
			go c.supervise(v1.RestartPolicyAlways, up)
			for !c.isStarted() {
				if !w.sleep(50 * time.Millisecond) {
					return false
				}
			}
			continue
		}
		policy := v1.RestartPolicyOnFailure
		if w.pod.Spec.RestartPolicy == v1.RestartPolicyNever {
			policy = v1.RestartPolicyNever
		}
		ended := make(chan struct{})
		go func() { defer close(ended); c.supervise(policy, make(chan struct{})) }()
		select {
		case <-ended:
		case <-w.stop:
			return false
		}
		if c.exitCode() != 0 {
			<-w.stop
			return false
		}
	}
	return !w.stopping()
}

// terminate follows the kubelet: preStop hooks, SIGTERM to the main containers,
// then to the sidecars in reverse order, SIGKILL at the deadline.
func (w *podWorker) terminate() {
	deadline := time.Now().Add(w.grace)
	var wg, hooks sync.WaitGroup
	for _, c := range w.init {
		hooks.Add(1)
		go func() { defer hooks.Done(); c.preStop(deadline) }()
	}
	for _, c := range w.main {
		wg.Add(1)
		go func() { defer wg.Done(); c.preStop(deadline); c.end(deadline) }()
	}
	wg.Wait()
	hooks.Wait()
	for i := len(w.init) - 1; i >= 0; i-- {
		w.init[i].end(deadline)
	}
}

func (w *podWorker) writeStatus(done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-w.dirty:
			time.Sleep(20 * time.Millisecond)
			w.patchStatus()
		}
	}
}

func cond(t v1.PodConditionType, ok bool, since metav1.Time) v1.PodCondition {
	s := v1.ConditionFalse
	if ok {
		s = v1.ConditionTrue
	}
	return v1.PodCondition{Type: t, Status: s, LastTransitionTime: since}
}

func (w *podWorker) status() v1.PodStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := v1.PodStatus{Phase: v1.PodPending, HostIP: nodeIP, HostIPs: []v1.HostIP{{IP: nodeIP}}, StartTime: &w.start, Message: w.reason}
	if w.ip != "" {
		st.PodIP, st.PodIPs = w.ip, []v1.PodIP{{IP: w.ip}}
	}
	ready, begun, ended, failed := w.initDone && !w.stopping(), w.initDone, w.initDone, false
	for _, c := range w.init {
		st.InitContainerStatuses = append(st.InitContainerStatuses, c.status())
		if c.sidecar {
			ready = ready && c.ready
		}
	}
	for _, c := range w.main {
		s := c.status()
		st.ContainerStatuses = append(st.ContainerStatuses, s)
		ready = ready && c.ready
		begun = begun && (s.State.Running != nil || s.State.Terminated != nil || s.RestartCount > 0)
		ended = ended && s.State.Terminated != nil && c.final
		failed = failed || s.State.Terminated != nil && s.State.Terminated.ExitCode != 0
	}
	switch {
	case ended && failed:
		st.Phase = v1.PodFailed
	case ended:
		st.Phase = v1.PodSucceeded
	case begun:
		st.Phase = v1.PodRunning
	}
	now := metav1.Now()
	st.Conditions = []v1.PodCondition{cond(v1.PodInitialized, w.initDone, now), cond(v1.ContainersReady, ready, now), cond(v1.PodReady, ready, now)}
	return st
}

// patchStatus writes the status; an unchanged condition keeps its time.
func (w *podWorker) patchStatus() {
	st := w.status()
	if cur, err := w.n.pods.Pods(w.pod.Namespace).Get(w.pod.Name); err == nil && cur.UID == w.pod.UID {
		for i, c := range st.Conditions {
			for _, old := range cur.Status.Conditions {
				if old.Type == c.Type && old.Status == c.Status {
					st.Conditions[i].LastTransitionTime = old.LastTransitionTime
				}
			}
		}
	}
	body, _ := json.Marshal(map[string]any{"metadata": map[string]any{"uid": w.pod.UID}, "status": st})
	_, err := w.n.kube.CoreV1().Pods(w.pod.Namespace).Patch(context.TODO(), w.pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && !w.n.closing.Load() {
		w.logf("status: %v", err)
		time.AfterFunc(time.Second, w.changed)
	}
}
