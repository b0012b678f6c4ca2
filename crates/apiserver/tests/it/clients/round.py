"""The full round of verbs with the Python client. Takes a kubeconfig; any surprise is an exception."""

import json
import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
api = client.ApiClient()
core = client.CoreV1Api(api)
HERE = "default"


def config_map(name, value="1"):
    meta = client.V1ObjectMeta(name=name, labels={"app": name})
    return client.V1ConfigMap(metadata=meta, data={"x": value})


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code, error
        return error
    raise AssertionError(f"not refused with {code}")


def patch(name, content_type, body, query=""):
    """A patch of any type; the client's own method chooses one by itself."""
    url = f"{api.configuration.host}/api/v1/namespaces/{HERE}/configmaps/{name}{query}"
    headers = {"Content-Type": content_type}
    pool = api.rest_client.pool_manager
    answer = pool.request("PATCH", url, body=json.dumps(body), headers=headers)
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


for name in "abc":
    assert core.create_namespaced_config_map(HERE, config_map(name)).metadata.uid
core.create_namespaced_config_map(HERE, config_map("d"), dry_run="All")
refused(409, core.create_namespaced_config_map, HERE, config_map("a"))
refused(422, core.create_namespaced_config_map, HERE, config_map("A_"))
refused(404, core.read_namespaced_config_map, "d", HERE)

first = core.list_namespaced_config_map(HERE, limit=2)
rest = core.list_namespaced_config_map(HERE, limit=2, _continue=first.metadata._continue)
assert [item.metadata.name for item in first.items + rest.items] == ["a", "b", "c"]
chosen = core.list_namespaced_config_map(
    HERE, label_selector="app in (a,b)", field_selector="metadata.name!=a"
)
assert [item.metadata.name for item in chosen.items] == ["b"]

old = core.read_namespaced_config_map("a", HERE)
changed = core.read_namespaced_config_map("a", HERE)
changed.data["x"] = "2"
core.replace_namespaced_config_map("a", HERE, changed)
old.data["x"] = "3"
refused(409, core.replace_namespaced_config_map, "a", HERE, old)

patch("a", "application/merge-patch+json", {"data": {"y": "1"}})
core.patch_namespaced_config_map("a", HERE, {"data": {"z": "1"}})
patch("a", "application/json-patch+json", [{"op": "remove", "path": "/data/x"}])
applied = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"w": "1"}}
patched = patch("a", "application/apply-patch+yaml", applied, "?fieldManager=py")
assert patched["data"] == {"w": "1", "y": "1", "z": "1"}, patched

seen = []
since = rest.metadata.resource_version
for event in watch.Watch().stream(
    core.list_namespaced_config_map, HERE, resource_version=since, timeout_seconds=20
):
    seen.append((event["type"], event["object"].metadata.name))
    if len(seen) == 5:
        break
assert seen == [("MODIFIED", "a")] * 5, seen

core.delete_namespaced_config_map("a", HERE)
core.delete_collection_namespaced_config_map(HERE, label_selector="app=b")
left = core.list_namespaced_config_map(HERE).items
assert [item.metadata.name for item in left] == ["c"]

definition = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "boats", "kind": "Boat"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"length": {"type": "integer", "default": 5}},
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}
extensions = client.ApiextensionsV1Api(api)
extensions.create_custom_resource_definition(definition)
custom = client.CustomObjectsApi(api)
boats = ("example.org", "v1", HERE, "boats")
boat = {"apiVersion": "example.org/v1", "kind": "Boat", "metadata": {"name": "dinghy"}, "spec": {}}
made = custom.create_namespaced_custom_object(*boats, boat)
assert made["spec"] == {"length": 5}, made
made["status"] = {"afloat": True}
custom.replace_namespaced_custom_object_status(*boats, "dinghy", made)
assert custom.get_namespaced_custom_object(*boats, "dinghy")["status"] == {"afloat": True}
assert len(custom.list_namespaced_custom_object(*boats)["items"]) == 1
custom.delete_namespaced_custom_object(*boats, "dinghy")
extensions.delete_custom_resource_definition("boats.example.org")
assert client.VersionApi(api).get_code().major == "1"
