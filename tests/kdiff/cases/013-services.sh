ns
k create service clusterip a --tcp=80:8080
kj '.spec|.clusterIP|=(.!=null)|.clusterIPs|=length' get svc a
k create service clusterip headless --clusterip=None --tcp=80
kj '.spec' get svc headless
k create service nodeport np --tcp=80
kj '.spec|[.type,(.ports[0].nodePort>=30000),.externalTrafficPolicy,.internalTrafficPolicy]' get svc np
k create service loadbalancer lb --tcp=80
kj '.spec|[.type,.allocateLoadBalancerNodePorts,.externalTrafficPolicy]' get svc lb
k create service externalname ext --external-name=example.com
kj .spec get svc ext
k get svc | sed 's/80:3[0-9]*/80:N/'
k create -f - <<X
{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {}}
X
k create -f - <<X
{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {ports: [{port: 80}, {port: 81}]}}
X
k create -f - <<X
{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {type: Nope, sessionAffinity: Some, ports: [{port: 99999, protocol: ICMP}]}}
X
k patch svc a -p '{"spec":{"clusterIP":"10.1.2.3"}}' 2>&1 | sed 's/Invalid value: .*: /Invalid value: … /'
k patch svc a -p '{"spec":{"ports":[{"port":81,"targetPort":"http","name":"x"}]}}'
k patch svc a -p '{"spec":{"ports":[{"port":81,"targetPort":"http","name":"x"},{"port":80,"targetPort":8080,"protocol":"TCP","name":"y"}]}}'
kj '.spec.ports' get svc a
k patch svc a -p '{"spec":{"selector":null}}'
deploy web 0 | qk create -f -
k expose deploy web --port=80 --target-port=8080
kj '[.metadata.labels,.spec.selector,.spec.ports]' get svc web
k set selector svc a app=web
k get svc -l app=a -o wide
