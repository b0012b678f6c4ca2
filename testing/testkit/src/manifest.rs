//! DataVolumes as users write them.

/// Of StorageClass `longshore-local-immediate`, in the namespace `default`, by `spec.storage`.
fn storage(name: &str, source: &str, size: &str) -> String {
    format!(
        r#"
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: {name}
spec:
  source:
    {source}
  storage:
    accessModes: [ReadWriteOnce]
    storageClassName: longshore-local-immediate
    resources:
      requests:
        storage: "{size}"
"#
    )
}

/// Filled from a web server.
pub fn http(name: &str, url: &str, size: &str) -> String {
    storage(name, &format!("http: {{url: \"{url}\"}}"), size)
}

/// Filled with zeros.
pub fn blank(name: &str, size: &str) -> String {
    storage(name, "blank: {}", size)
}

/// Filled from a web server, by `spec.pvc`, of the default StorageClass, which waits for a consumer.
pub fn http_pvc(name: &str, url: &str, size: &str) -> String {
    format!(
        r#"
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: {name}
spec:
  source:
    http:
      url: "{url}"
  pvc:
    accessModes: [ReadWriteOnce]
    resources:
      requests:
        storage: "{size}"
"#
    )
}

/// A Pod that has a claim mounted at `/disk`, and runs a command of the machine.
pub fn consumer(name: &str, claim: &str, command: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: host
      command: [sh, -c, "{command}"]
      volumeMounts:
        - name: disk
          mountPath: /disk
  volumes:
    - name: disk
      persistentVolumeClaim:
        claimName: {claim}
"#
    )
}
