#!/bin/sh
# Imports the disk of an image, waits until it can be used, and shows what there is then.
# Needs kubectl, and KUBECONFIG set to the file that `longshore up` prints.
#
#   examples/import.sh NAME URL SIZE
#   examples/import.sh debian http://127.0.0.1:8000/debian.qcow2 10Gi
set -eu
[ $# -eq 3 ] || {
  echo "usage: $0 NAME URL SIZE" >&2
  exit 2
}

kubectl apply -f - <<END
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: $1
  annotations:
    cdi.kubevirt.io/storage.bind.immediate.requested: ""
spec:
  source:
    http:
      url: "$2"
  storage:
    accessModes: [ReadWriteOnce]
    resources:
      requests:
        storage: "$3"
END

kubectl wait --for=condition=Ready --timeout=10m "datavolume/$1" || {
  kubectl describe "datavolume/$1" >&2
  exit 1
}
kubectl get datavolume,persistentvolumeclaim "$1"
