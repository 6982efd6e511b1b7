ns; qk create cm a; r=$(g cm a -o jsonpath='{.metadata.resourceVersion}'); qk label cm a x=y; qk create cm b
P=/api/v1/namespaces/$NS/configmaps
api -j '[.items[]|select(.metadata.name|IN("a","b"))|[.metadata.name,.metadata.labels]]' GET "$P?resourceVersion=$r&resourceVersionMatch=Exact"
api -j '[.items[]|select(.metadata.name|IN("a","b"))|[.metadata.name,.metadata.labels]]' GET "$P?resourceVersion=$r&resourceVersionMatch=NotOlderThan"
api -j ".metadata.resourceVersion==\"$r\"" GET "$P?resourceVersion=$r&resourceVersionMatch=Exact"
api GET "$P?resourceVersionMatch=Exact"
api GET "$P?resourceVersion=0&resourceVersionMatch=Exact"
api GET "$P?resourceVersion=5&resourceVersionMatch=Sometimes"
api GET "$P?resourceVersion=abc"
api -j '[.code,.reason,.message,.details]' GET "$P?resourceVersion=99999999"
api -j '[.code,.reason,.message]' GET "$P/a?resourceVersion=99999999"
api -j '[.code,.reason]' GET "$P/a?resourceVersion=abc"
api -j '.metadata.name' GET "$P/a?resourceVersion=0"
api -j '.metadata.labels' GET "$P/a?resourceVersion=$r"
