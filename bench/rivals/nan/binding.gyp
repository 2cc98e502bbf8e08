{
  'targets': [{
    'target_name': 'boundary',
    'sources': ['boundary.cc'],
    'include_dirs': ['<!(node -e "require(\'nan\')")'],
    'cflags': ['-O3', '-Wno-cast-function-type', '-Wno-unused-parameter'],
  }],
}
