from fasthop.model.matrices import polar as polar
