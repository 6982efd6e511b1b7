package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	coord "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

type node struct {
	name, run, bin, share, certs, apiHost string
	kube                                  kubernetes.Interface
	pool                                  *netPool
	pods                                  listers.PodLister
	services                              listers.ServiceLister
	configMaps                            listers.ConfigMapLister
	secrets                               listers.SecretLister
	closing                               atomic.Bool

	mu      sync.Mutex
	workers map[types.UID]*podWorker
}

func runNode(args []string) {
	f := flag.NewFlagSet("run", flag.ExitOnError)
	kubeconfig := f.String("kubeconfig", "", "kubeconfig of a cluster administrator")
	clientCA := f.String("client-ca", "", "CA of the API server's kubelet client certificate")
	n := &node{workers: map[types.UID]*podWorker{}, pool: &netPool{used: map[string]bool{}}}
	f.StringVar(&n.name, "name", "lab-node", "node name")
	f.StringVar(&n.run, "run", "", "folder for pod state and logs")
	f.StringVar(&n.bin, "bin", "", "folder with the programs, seen as /usr/local/bin in containers")
	f.StringVar(&n.share, "share", "", "folder with envoy/, seen as /var/lib/istio/envoy")
	f.StringVar(&n.certs, "certs", "", "folder with the public CAs of this lab, seen as /etc/ssl/certs")
	f.StringVar(&nodeIP, "node-ip", "10.77.0.1", "address of the node; its /16 is the pods'")
	f.StringVar(&n.apiHost, "api-host", "10.96.0.1", "address of Service default/kubernetes")
	f.Parse(args)
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	n.kube = kubernetes.NewForConfigOrDie(cfg)
	syscall.Umask(0o022)
	for _, d := range []string{"pods", "logs", "hosts"} {
		os.MkdirAll(filepath.Join(n.run, d), 0o755)
	}
	go n.serve(*clientCA)
	n.register()
	go n.heartbeat()

	all := informers.NewSharedInformerFactory(n.kube, 0)
	mine := informers.NewSharedInformerFactoryWithOptions(n.kube, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", n.name).String()
	}))
	n.services = all.Core().V1().Services().Lister()
	n.configMaps = all.Core().V1().ConfigMaps().Lister()
	n.secrets = all.Core().V1().Secrets().Lister()
	n.pods = mine.Core().V1().Pods().Lister()
	all.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { n.writeHosts() }, UpdateFunc: func(any, any) { n.writeHosts() }, DeleteFunc: func(any) { n.writeHosts() }})
	ctx := context.Background()
	all.Start(ctx.Done())
	all.WaitForCacheSync(ctx.Done())
	mine.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { n.seen(o.(*v1.Pod)) }, UpdateFunc: func(_, o any) { n.seen(o.(*v1.Pod)) }, DeleteFunc: n.lost})
	mine.Start(ctx.Done())
	log.Printf("node %s ready", n.name)

	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, os.Interrupt)
	<-sig
	n.closing.Store(true)
	n.mu.Lock()
	left := slices.Collect(maps.Values(n.workers))
	n.mu.Unlock()
	for _, w := range left {
		w.remove(0)
	}
	for _, w := range left {
		<-w.gone
	}
	log.Printf("stopped %d pods", len(left))
}

// seen starts, or begins to end, the pod as the API has it.
func (n *node) seen(p *v1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.workers[p.UID]
	if w == nil && !n.closing.Load() && p.Status.Phase != v1.PodSucceeded && p.Status.Phase != v1.PodFailed {
		w = newPodWorker(n, p)
		n.workers[p.UID] = w
		go func() {
			w.work()
			n.mu.Lock()
			delete(n.workers, p.UID)
			n.mu.Unlock()
		}()
	}
	if w != nil && p.DeletionTimestamp != nil {
		w.remove(time.Duration(ptr.Deref(p.DeletionGracePeriodSeconds, 30)) * time.Second)
	}
}

func (n *node) lost(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.workers[o.(*v1.Pod).UID]; w != nil {
		w.remove(0)
	}
}

// find returns the container for a kubelet API request.
func (n *node) find(ns, pod, name string) (*podWorker, *container) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.workers {
		if w.pod.Namespace == ns && w.pod.Name == pod {
			for _, c := range append(slices.Clone(w.main), w.init...) {
				if c.spec.Name == name || name == "" {
					return w, c
				}
			}
			return w, nil
		}
	}
	return nil, nil
}

func (n *node) register() {
	now := metav1.Now()
	size := v1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("128Gi"), "pods": resource.MustParse("250"), "ephemeral-storage": resource.MustParse("100Gi")}
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{"kubernetes.io/hostname": n.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}}
	if _, err := n.kube.CoreV1().Nodes().Create(context.TODO(), node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		log.Fatal(err)
	}
	st := v1.NodeStatus{Capacity: size, Allocatable: size,
		Addresses:       []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: nodeIP}, {Type: v1.NodeHostName, Address: n.name}},
		DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: 10250}},
		NodeInfo:        v1.NodeSystemInfo{KubeletVersion: "v1.34.4", OSImage: "lab", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "lab://1"}}
	for _, t := range []v1.NodeConditionType{v1.NodeReady, v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure} {
		c := v1.NodeCondition{Type: t, Status: v1.ConditionFalse, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Lab"}
		if t == v1.NodeReady {
			c.Status = v1.ConditionTrue
		}
		st.Conditions = append(st.Conditions, c)
	}
	for {
		cur, err := n.kube.CoreV1().Nodes().Get(context.TODO(), n.name, metav1.GetOptions{})
		if err == nil {
			cur.Status = st
			if _, err = n.kube.CoreV1().Nodes().UpdateStatus(context.TODO(), cur, metav1.UpdateOptions{}); err == nil {
				return
			}
		}
		log.Printf("register: %v", err)
		time.Sleep(200 * time.Millisecond)
	}
}

func (n *node) heartbeat() {
	leases := n.kube.CoordinationV1().Leases("kube-node-lease")
	for ; ; time.Sleep(10 * time.Second) {
		now := metav1.NowMicro()
		l, err := leases.Get(context.TODO(), n.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = leases.Create(context.TODO(), &coord.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.name},
				Spec: coord.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: ptr.To(int32(40)), RenewTime: &now}}, metav1.CreateOptions{})
		} else if err == nil {
			l.Spec.RenewTime = &now
			_, err = leases.Update(context.TODO(), l, metav1.UpdateOptions{})
		}
		if err != nil {
			log.Printf("lease: %v", err)
		}
	}
}

func (n *node) hostsDir(ns string) string {
	dir := filepath.Join(n.run, "hosts", ns)
	if _, err := os.Stat(dir); err != nil {
		os.MkdirAll(dir, 0o755)
		n.writeHosts()
	}
	return dir
}

// writeHosts stands in for cluster DNS: one hosts file per namespace.
func (n *node) writeHosts() {
	list, err := n.services.List(labels.Everything())
	if err != nil {
		return
	}
	dirs, _ := os.ReadDir(filepath.Join(n.run, "hosts"))
	for _, d := range dirs {
		lines := []string{"127.0.0.1 localhost"}
		for _, s := range list {
			if ip := s.Spec.ClusterIP; ip != "" && ip != v1.ClusterIPNone {
				full := s.Name + "." + s.Namespace
				line := fmt.Sprintf("%s %s.svc.cluster.local %s.svc %s", ip, full, full, full)
				if s.Namespace == d.Name() {
					line += " " + s.Name
				}
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		if err := replaceFile(filepath.Join(n.run, "hosts", d.Name(), "hosts"), []byte(strings.Join(lines, "\n")+"\n")); err != nil {
			log.Printf("hosts: %v", err)
		}
	}
}
