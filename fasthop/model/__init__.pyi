from fasthop.model.systems import polar as polar
